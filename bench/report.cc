// Standard output only: one table per run, below a few lines on the machine.
#include "report.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "machine.h"
#include "xent/xent.h"

namespace xent_bench {
namespace {

using Cells = std::vector<std::string>;

std::string Text(const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  return text;
}

std::string Spread(const Ratio& ratio) { return Text("%.2f [%.2f %.2f]", ratio.median, ratio.low, ratio.high); }

Cells Names(const Result& r) { return {r.size, r.dtype, r.what, r.isa, std::to_string(r.threads)}; }

Cells ColdRow(const Result& r) {
  Cells cells = Names(r);
  for (const std::string& cell :
       {Text("%.4g", 1e3 * r.xent), Text("%.4g", 1e3 * r.roof), Text("%.4g", 1e3 * r.exp_add),
        Text("%.1f", r.gigabytes_per_second), Spread(r.of_roof), Spread(r.of_binding), std::to_string(r.disturbed)}) {
    cells.push_back(cell);
  }
  return cells;
}

Cells WarmRow(const Result& r) {
  Cells cells = Names(r);
  for (const std::string& cell :
       {Text("%.4g", 1e6 * r.xent), Text("%.3f", r.cycles_per_element), Text("%.3f", r.exp_add_cycles_per_element),
        Spread(r.of_exp_add), std::to_string(r.disturbed)}) {
    cells.push_back(cell);
  }
  return cells;
}

void PrintRow(const Cells& cells, const std::vector<size_t>& widths, bool markdown) {
  std::string line = markdown ? "|" : "";
  for (size_t i = 0; i < cells.size(); ++i) {
    line += markdown ? " " : "";
    line += cells[i] + std::string(widths[i] - std::min(widths[i], cells[i].size()), ' ');
    line += markdown ? " |" : "  ";
  }
  std::puts(line.c_str());
}

void PrintTable(const std::vector<Cells>& rows, bool markdown) {
  std::vector<size_t> widths(rows[0].size());
  for (const Cells& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  PrintRow(rows[0], widths, markdown);
  Cells rule;
  for (size_t width : widths) rule.push_back(std::string(width, '-'));
  if (markdown) PrintRow(rule, widths, markdown);
  for (size_t i = 1; i < rows.size(); ++i) PrintRow(rows[i], widths, markdown);
}

void PrintHead(const Run& run) {
  const char* const mark = run.format == Format::kMarkdown ? "* " : "";
  std::printf("%s%s, %d processors, last-level cache %zu MiB, clock %.2f GHz\n", mark, CpuName().c_str(), CpuCount(),
              LastLevelCacheBytes() >> 20, 1e-9 * CoreHertz());
  std::printf("%s%s\n", mark, xent_build_info());
  if (!run.results.empty()) {
    std::printf("%s%s, inputs %s, %d rounds%s; threads %s; medians, [quartiles] of per-round ratios\n", mark,
                run.warm ? "warm (in cache, same buffers)" : "cold (buffers rotate beyond the last-level cache)",
                InputsName(run.inputs), run.rounds, run.is_functions ? "" : ", labels i64, mean",
                run.pinned ? "pinned" : "not pinned");
  }
  for (const Roofs* roofs : run.roofs) {
    for (Traffic traffic : {Traffic::kRead, Traffic::kCopy, Traffic::kInPlace}) {
      std::printf("%sroof, %d thread%s: %s\n", mark, roofs->threads(), roofs->threads() > 1 ? "s" : "",
                  roofs->Describe(traffic).c_str());
    }
  }
  std::puts("");
}

void PrintTables(const Run& run) {
  PrintHead(run);
  if (run.results.empty()) return;
  const char* const size = run.is_functions ? "elements" : "rows x classes";
  const char* const what = run.is_functions ? "function" : "mode";
  const Cells cold = {size,      "dtype",      what,   "isa",     "threads",         "xent ms",
                      "roof ms", "exp-add ms", "GB/s", "of roof", "of binding roof", "disturbed"};
  const Cells warm = {size,           "dtype",          what,         "isa",      "threads", "xent us",
                      "cycles/elem.", "exp-add cycles", "of exp-add", "disturbed"};
  std::vector<Cells> rows = {run.warm ? warm : cold};
  for (const Result& result : run.results) rows.push_back(run.warm ? WarmRow(result) : ColdRow(result));
  PrintTable(rows, run.format == Format::kMarkdown);
}

std::string Json(const Ratio& ratio) {
  return Text("{\"median\": %.6g, \"low\": %.6g, \"high\": %.6g}", ratio.median, ratio.low, ratio.high);
}

void PrintJsonResult(const Result& r, bool warm) {
  std::printf("    {%s, \"dtype\": \"%s\", \"isa\": \"%s\", ", r.json_fields.c_str(), r.dtype, r.isa.c_str());
  std::printf(
      "\"threads\": %d, \"disturbed\": %d, \"xent_s\": %.6g, \"exp_add_s\": %.6g, \"gigabytes_per_second\": %.6g, ",
      r.threads, r.disturbed, r.xent, r.exp_add, r.gigabytes_per_second);
  std::printf("\"cycles_per_element\": %.6g, \"exp_add_cycles_per_element\": %.6g, ", r.cycles_per_element,
              r.exp_add_cycles_per_element);
  if (!warm) {
    std::printf("\"roof_s\": %.6g, \"of_roof\": %s, \"of_binding_roof\": %s, ", r.roof, Json(r.of_roof).c_str(),
                Json(r.of_binding).c_str());
  }
  std::printf("\"of_exp_add\": %s}", Json(r.of_exp_add).c_str());
}

void PrintJsonRoof(const Roofs& roofs) {
  static const char* const kKeys[] = {"read", "copy", "in_place"};
  std::printf("    {\"threads\": %d", roofs.threads());
  for (Traffic traffic : {Traffic::kRead, Traffic::kCopy, Traffic::kInPlace}) {
    const RoofChoice& roof = roofs.choice(traffic);
    std::printf(
        ", \"%s\": {\"gigabytes_per_second\": %.6g, \"bits\": %d, \"streams\": %d, \"lines\": %d, "
        "\"prefetch\": %zu, \"plain_gigabytes_per_second\": %.6g}",
        kKeys[static_cast<int>(traffic)], roof.gigabytes_per_second, roof.bits, roof.loop->streams, roof.loop->lines,
        roof.distance, roof.plain_gigabytes_per_second);
  }
  std::printf("}");
}

void PrintJson(const Run& run) {
  std::printf("{\n  \"processor\": \"%s\", \"processors\": %d, \"last_level_cache_bytes\": %zu,\n", CpuName().c_str(),
              CpuCount(), LastLevelCacheBytes());
  std::printf("  \"library\": \"%s\", \"warm\": %s, \"inputs\": \"%s\", \"rounds\": %d, \"pinned\": %s,\n",
              xent_build_info(), run.warm ? "true" : "false", InputsName(run.inputs), run.rounds,
              run.pinned ? "true" : "false");
  std::printf("  \"roofs\": [\n");
  for (size_t i = 0; i < run.roofs.size(); ++i) {
    PrintJsonRoof(*run.roofs[i]);
    std::puts(i + 1 < run.roofs.size() ? "," : "");
  }
  std::printf("  ],\n  \"results\": [\n");
  for (size_t i = 0; i < run.results.size(); ++i) {
    PrintJsonResult(run.results[i], run.warm);
    std::puts(i + 1 < run.results.size() ? "," : "");
  }
  std::printf("  ]\n}\n");
}

}  // namespace

Ratio RatioOf(const std::vector<double>& per_round) {
  return {Median(per_round), Quantile(per_round, 0.25), Quantile(per_round, 0.75)};
}

void Print(const Run& run) {
  if (run.format == Format::kJson) return PrintJson(run);
  PrintTables(run);
}

}  // namespace xent_bench
