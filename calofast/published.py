"""Published data sets of showers.

Record numbers, file names and MD5 sums of the CaloChallenge (arXiv 2410.21611) are those that Zenodo states. CaloGAN's
showers (arXiv 1712.10321) lie on Mendeley Data, whose record states their checksums.
"""

from __future__ import annotations

from hepflows.datasets import DataSet, Record, RemoteFile

_ZENODO = "https://zenodo.org/records"


def _challenge(name: str, title: str, record: int, files: dict[str, str]) -> DataSet:
    return DataSet(
        name=f"calochallenge-{name}",
        title=f"CaloChallenge, {title}",
        page=f"{_ZENODO}/{record}",
        files=tuple(
            RemoteFile(name=file, url=f"{_ZENODO}/{record}/files/{file}?download=1", checksum=f"md5:{digits}")
            for file, digits in files.items()
        ),
    )


DATASETS = (
    _challenge(
        "1-photons",
        "data set 1, photons: 368 voxels",
        8099322,
        {
            "dataset_1_photons_1.hdf5": "005d2adeda7db034b388112661265656",
            "dataset_1_photons_2.hdf5": "4767715ed56e99565fd9c67340661e70",
        },
    ),
    _challenge(
        "1-pions",
        "data set 1, charged pions: 533 voxels",
        8099322,
        {
            "dataset_1_pions_1.hdf5": "6a5f52722064a1bcd8a0bc002f16515d",
            "dataset_1_pions_2.hdf5": "fee7457b40127bc23c8ab909e2638ca0",
        },
    ),
    _challenge(
        "2",
        "data set 2, electrons: 6480 voxels",
        6366271,
        {
            "dataset_2_1.hdf5": "e590333e9a2da51b258288d74bd8357a",
            "dataset_2_2.hdf5": "7a56fd68aa53ded37c2ac445694d9736",
        },
    ),
    _challenge(
        "3",
        "data set 3, electrons: 40500 voxels",
        6366324,
        {
            "dataset_3_1.hdf5": "d33f03418aa311b0965452fcbef1ff87",
            "dataset_3_2.hdf5": "911dec2c40aafa64a07b7450b80881bf",
            "dataset_3_3.hdf5": "5ea62f6831a1821bb5035fafc9f030e8",
            "dataset_3_4.hdf5": "5e8d82e6a6c28c6914a3b602a1cfa299",
        },
    ),
    DataSet(
        name="calogan",
        title="CaloGAN: e+, photons and charged pions, 504 voxels",
        page="https://doi.org/10.17632/pvn3xc3wy5.1",
        record=Record(
            kind="mendeley",
            url="https://data.mendeley.com/public-api/datasets/pvn3xc3wy5/files?folder_id=root&version=1",
            names=("eplus.hdf5", "gamma.hdf5", "piplus.hdf5"),
        ),
    ),
)
