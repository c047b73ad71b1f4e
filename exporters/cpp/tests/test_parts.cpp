// The parts that need no ONNX Runtime: hashes, JSON, geometry, policies, engines, golden files, hits and constituents.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "hepflows/engines.hpp"
#include "hepflows/events.hpp"
#include "hepflows/geometry.hpp"
#include "hepflows/golden.hpp"
#include "hepflows/json.hpp"
#include "hepflows/metadata.hpp"
#include "hepflows/par04.hpp"
#include "hepflows/sha256.hpp"

namespace {

using hepflows::ConditionError;
using hepflows::FileError;
using hepflows::Json;

bool near(double a, double b) { return std::abs(a - b) < 1e-9; }

void hashes() {
  const auto hash = [](const std::string& text) { return hepflows::sha256(text.data(), text.size()); };
  CHECK(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hash(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  CHECK(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

void json() {
  const Json value =
      Json::parse(R"( {"a": [1, -2.5e3, 0.1], "b": {"c": null, "d": true}, "e": "\u00e9\n\ud83d\ude00"} )", "x");
  CHECK(value.at("a", "x").numbers("x") == (std::vector<double>{1.0, -2500.0, 0.1}));
  CHECK(value.at("b", "x").get("c").is_null());
  CHECK(value.at("e", "x").text("x") == "\xc3\xa9\n\xf0\x9f\x98\x80");
  CHECK(value == Json::parse(R"({"b": {"d": true, "c": null}, "e": "é\n😀", "a": [1.0, -2500, 1e-1]})", "y"));
  CHECK(value != Json::parse("{}", "y"));
  for (const char* bad : {"", "{", "[1,]", "{\"a\": 1,}", "{\"a\": 1, \"a\": 2}", "[01]", "[1.]", "[nan]", "[1e999]",
                          "'a'", "\"\\x\"", "\"\\ud800\"", "\"a\nb\"", "[1] 2", "{a: 1}", "tru"})
    check_throws<FileError>([bad] { Json::parse(bad, "file"); }, "file, byte");
  check_throws<FileError>([] { Json::parse(std::string(5000, '['), "deep"); }, "fewer levels");
  check_throws<FileError>([&] { value.at("z", "here"); }, "here: an entry is missing");
  check_throws<FileError>([&] { value.at("a", "x").text("here"); }, "here: wrong kind of entry");
}

void geometry() {
  const auto found = hepflows::Geometry::from(Json::parse(R"({"name": "two", "layers": [
    {"name": "a", "kind": "regular", "x_edges_mm": [-10, 0, 20], "y_edges_mm": [-3, 0, 3, 6], "z_mm": [0, 10]},
    {"name": "b", "kind": "cylindrical", "r_edges_mm": [0, 2, 4], "n_alpha": 4, "z_mm": null}]})",
                                                          "x"),
                                              "geometry");
  const auto& cells = found.cells();
  CHECK(cells.size() == 6 + 8);
  CHECK(cells[4].layer == 0 && near(cells[4].x_mm, 10.0) && near(cells[4].y_mm, 1.5) && near(cells[4].z_mm, 5.0));
  // alpha in the first bin, -3/4 pi; r in the second one
  CHECK(cells[7].layer == 1 && near(cells[7].x_mm, -3.0 * std::sqrt(0.5)) &&
        near(cells[7].y_mm, -3.0 * std::sqrt(0.5)));
  CHECK(std::isnan(cells[7].z_mm));
  for (std::size_t i = 0; i < cells.size(); ++i)
    CHECK(found.find(static_cast<std::size_t>(cells[i].layer), cells[i].x_mm, cells[i].y_mm) == i);
  CHECK(found.find(0, 20.0, 6.0) == 5 && found.find(0, 20.1, 6.0) == hepflows::Geometry::kNone);
  check_throws<FileError>(
      [] {
        hepflows::Geometry::from(Json::parse(R"({"layers": [{"name": "a", "kind": "regular", "x_edges_mm": [1, 0],
          "y_edges_mm": [0, 1]}]})",
                                             "x"),
                                 "geometry");
      },
      "geometry.layers[0].x_edges_mm: edges must rise");

  std::vector<float> energies(14, 0.0F);
  energies[4] = 2.0F, energies[7] = 0.5F, energies[8] = 1.0F;
  std::vector<hepflows::Hit> hits;
  hepflows::append_hits(energies.data(), found, 1.0, hits);
  CHECK(hits.size() == 2 && hits[0].cell == 4 && hits[1].cell == 8 && near(hits[0].y_mm, 1.5));
}

void policies() {
  const std::vector<hepflows::Condition> valid = {{"energy_gev", "GeV", 1.0F, 100.0F},
                                                  {"theta_rad", "rad", 0.0F, 0.5F}};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto apply = [&valid](std::vector<float> cond, hepflows::OutOfRange policy) {
    hepflows::apply_policy(cond.data(), cond.size() / 2, valid, policy);
    return cond;
  };
  const std::vector<float> outside = {50.0F, 0.1F, 200.0F, -1.0F};
  CHECK(apply({1.0F, 0.5F}, hepflows::OutOfRange::error) == (std::vector<float>{1.0F, 0.5F}));
  CHECK(apply(outside, hepflows::OutOfRange::clamp) == (std::vector<float>{50.0F, 0.1F, 100.0F, 0.0F}));
  CHECK(apply(outside, hepflows::OutOfRange::pass) == outside);
  check_throws<ConditionError>([&] { apply(outside, hepflows::OutOfRange::error); },
                               "event 1: energy_gev lies outside");
  check_throws<ConditionError>([&] { apply({2.0F, nan}, hepflows::OutOfRange::error); }, "theta_rad is not a number");
  check_throws<ConditionError>([&] { apply({2.0F, nan}, hepflows::OutOfRange::clamp); }, "theta_rad is not a number");
}

// Looks like a CLHEP engine.
struct Flat {
  double value = 0.25;
  double flat() { return value; }
};

void engines() {
  float out[2] = {};
  Flat engine;
  hepflows::fill_normals(engine, 2, out);
  CHECK(near(static_cast<double>(out[1]), static_cast<double>(static_cast<float>(hepflows::normal_quantile(0.25)))));
  double next = 1.0;
  hepflows::fill_normals([&next] { return next++; }, 2, out);
  CHECK(near(static_cast<double>(out[0]), 1.0) && near(static_cast<double>(out[1]), 2.0));
  engine.value = 1.0;
  check_throws<hepflows::Error>([&] { hepflows::fill_normals(engine, 1, out); }, "left its range");
}

void golden() {
  std::string data = "HEPFLOW1";
  const auto append = [&data](const auto& value) { data.append(reinterpret_cast<const char*>(&value), sizeof value); };
  for (const std::int64_t size : {1, 1, 2, 2}) append(size);
  for (const double value : {10.0, 0.5, -0.5, 3.0, 0.0}) append(value);
  const auto parsed = hepflows::Golden::parse(data, "g");
  CHECK(parsed.events == 1 && parsed.noise.size() == 2 && near(parsed.expected[0], 3.0));
  const hepflows::GoldenBound bound{{0.1, 0.1, 0.2}, true}, smooth{{0.1, 0.1, 0.2}, false};
  CHECK(hepflows::compare_with_golden({3.1F, 0.0F}, parsed, bound, 0, 2).passed());
  CHECK(!hepflows::compare_with_golden({3.5F, 0.0F}, parsed, bound, 0, 2).passed());
  CHECK(hepflows::compare_with_golden({3.0F, 1.0F}, parsed, bound, 0, 2).flips == 1);
  CHECK(!hepflows::compare_with_golden({3.0F, 0.1F}, parsed, bound, 0, 2).passed());
  CHECK(hepflows::compare_with_golden({3.0F, 0.1F}, parsed, smooth, 0, 2).passed());
  CHECK(!hepflows::compare_with_golden({std::nanf(""), 0.0F}, parsed, bound, 0, 2).passed());
  check_throws<FileError>([&] { hepflows::Golden::parse(data.substr(0, 70), "g"); }, "truncated or altered");
  check_throws<FileError>([&] { hepflows::Golden::parse(data + "12345678", "g"); }, "truncated or altered");
  check_throws<FileError>([] { hepflows::Golden::parse("nothing", "g"); }, "not a golden file");
  std::string negative = data;
  negative[8 + 7] = '\xff';
  check_throws<FileError>([&] { hepflows::Golden::parse(negative, "g"); }, "truncated or altered");
}

// Columns and cells of the profile par04, with an angle in degrees.
void par04() {
  const std::string document = R"({"encoding": {"max_energy_gev": 1024, "theta_max": 90, "theta_range": [0, 60],
    "energy_range_gev": [1, 100], "mesh": [2, 1, 3], "cell_size": [1, 1, null]}})";
  hepflows::Metadata metadata;
  metadata.conditions = {{"incident_energy_gev", "GeV", 1.0F, 100.0F}, {"theta_deg", "deg", 0.0F, 60.0F}};
  metadata.condition_columns = 4;
  metadata.output_width = 6;
  const auto read = [&metadata](std::string text, const std::string& from = {}, const std::string& to = {}) {
    if (!from.empty()) text.replace(text.find(from), from.size(), to);
    metadata.all = Json::parse(text, "x");
    return hepflows::Par04Encoding::from(metadata, "x");
  };
  const hepflows::Par04Encoding encoding = read(document);
  const std::vector<float> cond = {64.0F, 45.0F, 512.0F, 0.0F};
  std::vector<float> columns(8), voxels(12);
  encoding.columns(cond.data(), 2, columns.data());
  CHECK(columns == (std::vector<float>{0.0625F, 0.5F, 0.0F, 1.0F, 0.5F, 0.0F, 0.0F, 1.0F}));
  // r0z0 r0z1 r0z2 r1z0 r1z1 r1z2; energies outside the range count as its ends
  const std::vector<float> fractions = {0, 1, 2, 3, 4, 5, 1, 0, 0, 0, 0, 2};
  encoding.voxels_mev(fractions.data(), cond.data(), 2, voxels.data());
  CHECK(voxels == (std::vector<float>{0, 192000, 64000, 256000, 128000, 320000, 100000, 0, 0, 0, 0, 200000}));

  check_throws<FileError>([&] { read(document, "[2, 1, 3]", "[2, 1, 4]"); }, "as many cells as outputs");
  check_throws<FileError>([&] { read(document, "[2, 1, 3]", "[2, 0, 3]"); }, "as many cells as outputs");
  check_throws<FileError>([&] { read(document, "[2, 1, 3]", "[2, 3]"); }, "n_r, n_phi, n_z");
  check_throws<FileError>([&] { read(document, "[1, 100]", "[100, 1]"); }, "low <= high");
  check_throws<FileError>([&] { read(document, "1024", "0"); }, "a positive number");
  check_throws<FileError>([&] { read(document, "90", "0"); }, "an angle if theta_max");
  check_throws<FileError>([&] { read(R"({"encoding": null})"); }, "hepflows.encoding");
}

void jets() {
  const float row[] = {0.1F, 0.2F, 0.7F, 1.0F, 0.0F, 0.0F, 0.0F, 0.0F, -0.1F, -0.2F, 0.3F, 1.0F};
  const auto found = hepflows::constituents(row, 12);
  CHECK(found.size() == 2 && near(static_cast<double>(found[1].pt_rel), static_cast<double>(0.3F)));
}

}  // namespace

int main() {
  hashes();
  json();
  geometry();
  policies();
  engines();
  golden();
  par04();
  jets();
  return 0;
}
