// Labelled data that others collected, through the product's own commands: what it detects, and how often it cries wolf.
// node dist/bench/realData.js [--only kdd,nab,kafka]; data are read from ../shared/data, figures go to bench/results/.
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { type Finding, root, say, scratchFolder } from "./program.ts"
import { realKafka } from "./realKafka.ts"
import { realKdd } from "./realKdd.ts"
import { realNab } from "./realNab.ts"
import { machine, round } from "./report.ts"

const parts: Readonly<Record<string, (folder: string) => Promise<ReadonlyArray<Finding>>>> = {
  kdd: realKdd,
  nab: realNab,
  kafka: realKafka
}

const percent = (share: number | undefined): string =>
  share === undefined ? "–" : `${(100 * share).toFixed(share < 0.01 ? 3 : 2)} %`
const ratio = (value: number | undefined): string => (value === undefined ? "–" : value.toFixed(4))
const count = (value: number | undefined): string =>
  value === undefined ? "–" : Math.round(value).toLocaleString("en-US")

const head = [
  "data",
  "way",
  "events",
  "anomalies",
  "alerts",
  "detected",
  "false alarms",
  "ROC",
  "AP",
  "at 1 %",
  "events/s"
]

const lineOf = (finding: Finding): ReadonlyArray<string> => [
  finding.data,
  finding.way,
  count(finding.events),
  count(finding.anomalies),
  count(finding.alerts),
  percent(finding.detected),
  percent(finding.falseAlarms),
  ratio(finding.rocAuc),
  ratio(finding.averagePrecision),
  percent(finding.caughtAt1Percent),
  count(finding.eventsPerSecond)
]

const table = (findings: ReadonlyArray<Finding>): string => {
  const lines = [head, ...findings.map(lineOf)]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
        .join("  ")
    )
    .join("\n")
}

const rounded = (_: string, value: unknown): unknown =>
  typeof value === "number" ? roundFigure(value) : value
/** Counts stay whole; ratios and rates keep four digits. */
const roundFigure = (value: number): number => (Number.isInteger(value) ? value : round(value))

const { values } = parseArgs({ options: { only: { type: "string" } } })
const wanted = values.only === undefined ? Object.keys(parts) : values.only.split(",")
if (wanted.some((name) => !(name in parts))) {
  say(`parts are ${Object.keys(parts).join(", ")}`)
  process.exit(2)
}

const folder = scratchFolder()
const findings: Array<Finding> = []
const failed: Array<string> = []
for (const name of wanted) {
  const from = performance.now()
  try {
    findings.push(...(await parts[name](folder)))
    say(`${name}: ${((performance.now() - from) / 1_000).toFixed(0)} s`)
  } catch (cause) {
    failed.push(name)
    say(`${name} has no figures: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
}
if (findings.length > 0) {
  const results = join(root, "bench", "results")
  mkdirSync(results, { recursive: true })
  const name = values.only === undefined ? "real-data" : `real-data-${wanted.join("-")}`
  const path = join(results, `${name}.json`)
  writeFileSync(
    path,
    `${JSON.stringify({ date: new Date().toISOString(), machine: machine(), failed, findings }, rounded, 1)}\n`
  )
  process.stdout.write(`${table(findings)}\n`)
  say(`figures: ${path}`)
}
process.exit(failed.length === 0 ? 0 : 1)
