"""Training, saving, sampling and exporting a jet generator; conditions that it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepflows.errors import ArtefactError, ConditionError, ConfigError, DataError
from jetgen.generator import JetGenerator
from jetgen.task import TASK
from jetgen.training import JetFlow, JetObjective, Run, fit

SLOTS = 5
SMALL = {
    "coupling": {"blocks": 3, "width": 16, "depth": 1},
    "equivariant": {"width": 8, "blocks": 1, "heads": 2, "steps": 2},
    "training": {"epochs": 2, "batch_size": 100, "learning_rate": 3e-3},
}


@pytest.fixture(scope="module")
def jets(make_jets):
    return make_jets(1500, n_slots=SLOTS, seed=11)  # single constituents among them


@pytest.fixture(scope="module")
def generators(jets):
    return {name: fit(JetFlow(name, **SMALL), jets) for name in ("vnf", "cnf_m", "ccnf_mn", "exact", "equivariant")}


@pytest.mark.parametrize("name", ["vnf", "cnf_m", "exact", "equivariant"])
def test_the_loss_falls(generators, name):
    history = generators[name].document["training"]["history"]
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]


def test_exact_masses_for_drawn_and_given_conditions(generators, jets):
    for name in ("exact", "equivariant"):
        drawn = generators[name].sample(n=700, seed=1)
        given = generators[name].sample(jets.conditions, seed=1)
        several = jets.multiplicity > 1
        np.testing.assert_allclose(given.mass_rel[several], jets.mass_rel[several], rtol=1e-5)
        assert (given.mass_rel[~several] == 0).all()
        np.testing.assert_array_equal(given.multiplicity, jets.multiplicity)
        shares = (np.bincount(sample.multiplicity, minlength=SLOTS + 1) / len(sample) for sample in (drawn, jets))
        np.testing.assert_allclose(*shares, atol=0.1)


@given(
    name=st.sampled_from(["vnf", "cnf_m", "ccnf_mn", "exact"]),
    heaviest=st.booleans(),
    size=st.floats(0.1, 6.33795775),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=12)
def test_at_the_ends_of_the_range_and_of_the_noise_jets_are_jets(generators, name, heaviest, size, seed):
    """The lightest and heaviest jets of each multiplicity, and noise as large as it can be (docs/noise.md)."""
    generator = generators[name]
    drawn = generators["ccnf_mn"].draw_conditions(500, seed=seed)
    ends = []
    for multiplicity in range(2, SLOTS + 1):
        rows = np.flatnonzero(drawn["multiplicity"] == multiplicity)
        assert len(rows)
        order = np.argsort(drawn["mass"][rows])
        ends.append(rows[order[-1 if heaviest else 0]])
    conditions = {condition: values[ends] for condition, values in drawn.items()}
    rng = np.random.default_rng(seed)
    latents = size * rng.uniform(0.5, 1.0, (len(ends), generator.noise_dim)) * rng.choice([-1.0, 1.0], (len(ends), 1))
    jets = generator.sample(conditions, n=len(ends), seed=0, latents=latents.astype(np.float32))
    for values in (jets.eta_rel, jets.phi_rel, jets.pt_rel):
        assert np.isfinite(values).all()
        assert (values[~jets.mask] == 0).all()
    assert (jets.pt_rel[jets.mask] > 0).all()
    assert (np.abs(jets.phi_rel) <= np.pi + 1e-6).all()
    assert ((jets.multiplicity >= 1) & (jets.multiplicity <= SLOTS)).all()
    if "multiplicity" in generator.condition_names:
        np.testing.assert_array_equal(jets.multiplicity, conditions["multiplicity"])
    if generator.config.constraint == "exact":
        np.testing.assert_allclose(jets.mass_rel, conditions["mass"], rtol=1e-4)


def test_generated_jets_say_which_mass_was_asked_for(generators, jets):
    for name, generator in generators.items():
        given = generator.sample(jets.conditions, n=len(jets), seed=1)
        if name == "vnf":
            assert given.mass_condition is None
        else:
            np.testing.assert_array_equal(given.mass_condition, jets.mass_rel.astype(np.float32))
    assert given.hardest(1).mass_condition is None


def test_jets_do_not_depend_on_the_batch(generators):
    for generator in generators.values():
        whole = generator.sample(n=600, seed=3)
        part = generator.sample(n=344, seed=3, first_event=256)
        np.testing.assert_array_equal(whole.particles[256:], part.particles)
        other = generator.sample(n=600, seed=4)
        assert (whole.particles != other.particles).any()


def test_saved_and_loaded_generators_agree(generators, tmp_path):
    for name, generator in generators.items():
        generator.save(tmp_path / name)
        loaded = TASK.load(tmp_path / name)
        assert loaded.kind == name
        np.testing.assert_array_equal(loaded.sample(n=50, seed=5).particles, generator.sample(n=50, seed=5).particles)
        names = loaded.model.state_dict()
        assert not any("averaged" in tensor for tensor in names)


def test_a_stopped_training_resumes_to_the_same_weights(jets, tmp_path):
    def stop_after(steps):
        original = JetObjective.training_loss

        def counted(self, index):
            if int(self.step) == steps:
                import signal

                signal.raise_signal(signal.SIGINT)
            return original(self, index)

        return counted

    from hepflows.errors import Interrupted

    for name in ("ccnf_mn", "equivariant"):
        reference = fit(JetFlow(name, **SMALL), jets)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(JetObjective, "training_loss", stop_after(17))
            with pytest.raises(Interrupted):
                fit(JetFlow(name, **SMALL), jets, run=Run(directory=tmp_path / name))
        resumed = fit(JetFlow(name, **SMALL), jets, run=Run(directory=tmp_path / name, resume=True))
        for key, tensor in reference.model.state_dict().items():
            torch.testing.assert_close(resumed.model.state_dict()[key], tensor, rtol=0, atol=0)


def test_mass_loss_begins_late_and_pulls_the_mass(jets):
    from jetgen.dataset import make_tensors
    from jetgen.jetflow import JetFlowModel

    config = JetFlow("ccnf_mn", **SMALL, mass_loss={"start": 0.5, "weight": 1e6}).config
    data = make_tensors(jets, config, "cpu")
    torch.manual_seed(0)
    model = JetFlowModel(SLOTS, config)
    model.fit_preprocessing(data.constituents, data.mass, data.valid)
    objective = JetObjective(model, data, config)
    early = objective.training_loss(torch.arange(100))
    for _ in range(22):
        objective.count_step()
    late = objective.training_loss(torch.arange(100))
    assert float(late.detach()) > 100 * float(early.detach().abs())
    assert int(objective.step) == 22
    loss = objective.mass_loss(data.conditions[:200])
    loss.backward()
    assert any((p.grad != 0).any() for p in model.network.parameters() if p.grad is not None)


def test_windows_and_fixed_multiplicity(generators):
    exact = generators["exact"]
    conditions = exact.draw_conditions(400, seed=6, ranges={"mass": (0.1, 0.12), "multiplicity": (4, 4)})
    sample = exact.sample(conditions, seed=6)
    assert (sample.multiplicity == 4).all()
    assert ((sample.mass_rel > 0.1 * (1 - 1e-5)) & (sample.mass_rel < 0.12 * (1 + 1e-5))).all()
    with pytest.raises(ConditionError, match="no such condition"):
        generators["cnf_m"].draw_conditions(5, seed=1, ranges={"multiplicity": (3, 3)})
    with pytest.raises(ConditionError, match="no such condition"):
        generators["vnf"].draw_conditions(5, seed=1, ranges={"mass": (0.1, 0.2)})


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"mass": [0.1, 0.1]}, "multiplicity: a condition is missing"),
        ({"mass": [0.1, np.nan], "multiplicity": [3, 3]}, r"mass\[1\]: not a finite"),
        ({"mass": [0.1, 0.1], "multiplicity": [3, 2.5]}, r"multiplicity\[1\]: not a whole"),
        ({"mass": [0.1, 0.1], "multiplicity": [3]}, "wrong shape"),
        ({"mass": [[0.1]], "multiplicity": [[3]]}, "wrong shape"),
        ({"mass": [0.1, 7.0], "multiplicity": [3, 3]}, r"mass\[1\][\s\S]*trained range"),
        ({"mass": [0.1, 0.1], "multiplicity": [3, 9]}, r"multiplicity\[1\][\s\S]*1 \.\.\. 5"),
        ({"mass": [0.1, 0.1], "multiplicity": [3, 1]}, r"mass\[1\][\s\S]*single constituent"),
    ],
)
def test_bad_conditions_name_the_jet(generators, conditions, message):
    with pytest.raises(ConditionError, match=message):
        generators["exact"].sample({name: np.array(values) for name, values in conditions.items()}, seed=1)
    with pytest.raises(ConditionError, match=message):
        generators["exact"].check_conditions({name: np.array(values) for name, values in conditions.items()})


def test_out_of_range_can_be_extrapolated_with_a_warning(generators):
    high = generators["exact"].document["valid_range"]["mass"][1]
    conditions = {"mass": np.array([1.02 * high]), "multiplicity": np.array([5])}
    with pytest.warns(UserWarning, match="extrapolated"):
        sample = generators["exact"].sample(conditions, seed=1, out_of_range="pass")
    assert sample.mass_rel[0] == pytest.approx(1.02 * high, rel=1e-5)
    conditions["mass"] = np.array([-0.1])
    with pytest.raises(ConditionError, match="trained range"):
        generators["exact"].sample(conditions, seed=1, out_of_range="pass")


def test_out_of_range_can_be_clamped_with_a_warning(generators):
    low, high = generators["exact"].document["valid_range"]["mass"]
    conditions = {"mass": np.array([1.02 * high, -0.1]), "multiplicity": np.array([5, 5])}
    # the lowest mass is unusual for five constituents
    with pytest.warns(UserWarning, match="mass lies.*clamped"), pytest.warns(UserWarning, match="masses lie"):
        sample = generators["exact"].sample(conditions, seed=1, out_of_range="clamp")
    np.testing.assert_allclose(sample.mass_condition, [high, low], rtol=1e-6)
    np.testing.assert_allclose(sample.mass_rel, [high, low], rtol=1e-5)
    with pytest.raises(ConfigError, match="error or clamp or pass"):
        generators["exact"].sample(conditions, seed=1, out_of_range="warn")


def test_number_of_jets_is_needed(generators):
    with pytest.raises(ConditionError, match="how many"):
        generators["vnf"].sample(seed=1)


def test_too_few_jets_are_refused(jets):
    with pytest.raises(DataError, match="too few jets"):
        fit(JetFlow("exact", **SMALL), jets.select(slice(0, 60)))


def test_artefact_of_another_task_is_refused(generators, tmp_path):
    generator = generators["vnf"]
    other = generator._document.model_copy(update={"task": "calofast"})
    JetGenerator(generator.model, generator.config, other).save(tmp_path / "x")
    with pytest.raises(ArtefactError, match="not a jetgen generator"):
        JetGenerator.load(tmp_path / "x")


def test_metadata_lets_a_host_draw_conditions(generators):
    import json

    metadata = json.loads(json.dumps(generators["exact"].export_metadata()))
    assert [entry["name"] for entry in metadata["conditions"]] == ["mass", "multiplicity"]
    assert sum(metadata["condition_tables"]["multiplicity_share"]) == pytest.approx(1)
    assert metadata["noise"] == {"order": "three a slot"}
    assert metadata["noise"]["order"] == "three a slot"
    other, free = (generators[name].export_metadata()["noise"] for name in ("equivariant", "vnf"))
    assert other["order"] == "sum of pT, three a slot"
    assert free["order"] == "three a slot"


@pytest.mark.parametrize("name", ["exact", "equivariant"])
def test_the_exported_graph_gives_the_same_jets(generators, jets, name):
    pytest.importorskip("onnxruntime")
    import onnxruntime as ort

    from exporters.contract import separate
    from exporters.lowering import lower
    from jetgen.mass_kernel import jet_masses

    generator = generators[name]
    several = jets.multiplicity > 1
    cond = torch.from_numpy(np.stack(list(jets.conditions.values()), axis=1)[several].astype(np.float32))
    noise = torch.randn(len(cond), generator.noise_dim, generator=torch.Generator().manual_seed(9))
    module = generator.sampling_module()
    graph = lower(module, separate(2, generator.noise_dim, 4 * SLOTS), (cond[:4], noise[:4]))
    (found,) = ort.InferenceSession(graph).run(None, {"cond": cond.numpy(), "noise": noise.numpy()})
    with torch.no_grad():
        expected = module(cond, noise).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4)
    masses = jet_masses(*np.moveaxis(found.reshape(-1, SLOTS, 4)[:, :, :3], 2, 0))
    np.testing.assert_allclose(masses, cond[:, 0].double().numpy(), rtol=1e-5)


def test_the_task_trains_variants_from_a_file(jets, tmp_path):
    from hepflows.config import build
    from jetgen.config import JetFlowConfig
    from jetgen.writing import write_jets

    path = write_jets(jets, tmp_path / "jets.h5")
    assert TASK.sniff(path)
    config = build(
        JetFlowConfig,
        {"task": "jetgen", "variants": ["cnf_m", "exact"], "data": {"part": [0.0, 0.8]}, **SMALL},
        where="test",
    )
    written = TASK.train(config, path, tmp_path / "run")
    assert sorted(written) == ["cnf_m", "exact"]
    loaded = TASK.load(written["exact"])
    assert loaded.document["provenance"]["data_file"] == "jets.h5"
    assert loaded.document["config"]["variants"] == []
    sample = loaded.sample(TASK.read(path, part=(0.8, 1.0)).conditions, seed=2, out_of_range="pass")
    assert len(TASK.read(TASK.write(sample, tmp_path / "generated.h5"))) == 300


def test_exact_beside_cnf_mn_is_not_trained_again(generators, jets, tmp_path):
    from hepflows.config import build
    from jetgen.config import JetFlowConfig
    from jetgen.writing import write_jets

    path = write_jets(jets, tmp_path / "jets.h5")
    config = build(JetFlowConfig, {"task": "jetgen", "variants": ["cnf_mn", "exact"], **SMALL}, where="test")
    written = TASK.train(config, path, tmp_path / "run")
    assert [entry.name for entry in (tmp_path / "run" / "training").iterdir()] == ["cnf_mn"]
    made = TASK.load(written["exact"])
    assert (made.kind, made.config.constraint) == ("exact", "exact")
    conditions = {name: values[:100] for name, values in jets.conditions.items()}
    two = [generator.sample(conditions, seed=2).particles for generator in (made, generators["exact"])]
    np.testing.assert_array_equal(*two)


def test_a_constituent_without_pt_is_named(make_jets, tmp_path) -> None:
    from jetgen.streamed import stream_jets
    from jetgen.writing import write_jets

    jets = make_jets(200)
    pt = jets.pt_rel.copy()
    pt[70, 0] = 0.0
    jets = replace(jets, pt_rel=pt)
    with pytest.raises(DataError, match=r"jet 70, constituent 0: a constituent has no pT"):
        fit(JetFlow("vnf"), jets)
    write_jets(jets, tmp_path / "jets.h5")
    with pytest.raises(DataError, match=r"jets\.h5: jet 70"), stream_jets(tmp_path / "jets.h5"):
        pass


def test_a_jitter_without_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match="scale_jitter is for coupling flows"):
        JetFlow("cnf_mn", scale_jitter=0.1)
    JetFlow("exact", scale_jitter=0.1)
