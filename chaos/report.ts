// What the runs have told: an aligned table for people, Markdown for the documents, JSON for programs.
import { execFileSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, extname, join } from "node:path"
import { machine, quantile } from "../bench/report.ts"
import type { AbsentScenario, Row } from "./scenario.ts"

const head = [
  "scenario",
  "seed",
  "faults",
  "events",
  "lost",
  "doubled",
  "alerts",
  "equal",
  "state",
  "recovery p50 / p95 / max",
  "load",
  "verdict"
]

const millis = (value: number) =>
  value >= 10_000 ? `${(value / 1_000).toFixed(1)} s` : `${Math.round(value)} ms`
const sameness = (value: boolean | undefined) => (value === undefined ? "–" : value ? "yes" : "NO")

const recovery = ({ recoveries }: Row) =>
  recoveries.length === 0
    ? "–"
    : [0.5, 0.95, 1].map((share) => millis(quantile(recoveries, share))).join(" / ")

const cellsOf = (row: Row): ReadonlyArray<string> => [
  `${row.id} ${row.name}`,
  String(row.seed),
  String(row.faults.length),
  row.events.toLocaleString("en-US"),
  String(row.lost),
  String(row.doubled),
  row.alerts.toLocaleString("en-US"),
  sameness(row.alertsEqual),
  sameness(row.statesEqual),
  recovery(row),
  row.load === undefined ? "–" : String(row.load),
  row.verdict
]

/** Aligned text. */
export const tableOf = (rows: ReadonlyArray<Row>): string => {
  const lines = [head, ...rows.map(cellsOf)]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  const table = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]))
      .join("  ")
      .trimEnd()
  )
  const reasons = rows.flatMap((row) => row.because.map((why) => `${row.id} ${row.name}: ${why}`))
  return [...table, ...reasons].join("\n")
}

const commitOf = (): string => {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim()
  } catch {
    return "unknown"
  }
}

const barred = (cells: ReadonlyArray<string>) =>
  `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`

/** Where a diagnosis lies means nothing to a reader elsewhere. */
const withoutPlaces = (why: string): string => why.replace(/ \(see [^)]*\)/g, "")

const markdownOf = (
  rows: ReadonlyArray<Row>,
  absent: ReadonlyArray<AbsentScenario>,
  command: string,
  date: string
): string => {
  const { cores, cpu, node } = machine()
  const reasons = rows.filter((row) => row.because.length > 0)
  return [
    `\`${command}\`, ${date.slice(0, 10)}, commit ${commitOf()}, ${cores} × ${cpu}, Node ${node}.`,
    "",
    barred(head),
    barred(head.map(() => "---")),
    ...rows.map((row) => barred(cellsOf(row))),
    "",
    ...(reasons.length === 0
      ? []
      : [
          "Why not held:",
          "",
          ...reasons.flatMap((row) =>
            row.because.map((why) => `- **${row.id} ${row.name}**: ${withoutPlaces(why)}`)
          ),
          ""
        ]),
    "What was done:",
    "",
    ...rows
      .filter((row) => row.faults.length > 0)
      .map((row) => `- **${row.id} ${row.name}**: ${[...new Set(row.faults)].join("; ")}.`),
    "",
    ...(absent.length === 0
      ? []
      : ["Not there yet:", "", ...absent.map(({ id, name, why }) => `- **${id} ${name}**: ${why}`), ""])
  ].join("\n")
}

const BEGIN = "<!-- runs -->"
const END = "<!-- end of runs -->"

/**
 * Writes the runs to a file, `.json` or Markdown by its name, or to both in a folder. A Markdown file that has the two
 * comments around a place for them keeps what stands around it. Answers the files' names.
 */
export const writeReport = (
  target: string,
  rows: ReadonlyArray<Row>,
  absent: ReadonlyArray<AbsentScenario>,
  command: string,
  existing: (path: string) => string | undefined
): ReadonlyArray<string> => {
  const date = new Date().toISOString()
  const kind = extname(target)
  const files = kind === "" ? [join(target, "chaos.md"), join(target, "chaos.json")] : [target]
  for (const file of files) {
    mkdirSync(dirname(file), { recursive: true })
    if (extname(file) === ".json") {
      const told = { date, commit: commitOf(), command, machine: machine(), rows, absent }
      writeFileSync(file, `${JSON.stringify(told, null, 1)}\n`)
      continue
    }
    const text = markdownOf(rows, absent, command, date)
    const before = existing(file)
    const [from, to] = [before?.indexOf(BEGIN) ?? -1, before?.indexOf(END) ?? -1]
    writeFileSync(
      file,
      before !== undefined && from >= 0 && to > from
        ? `${before.slice(0, from + BEGIN.length)}\n\n${text}\n${before.slice(to)}`
        : `${text}\n`
    )
  }
  return files
}
