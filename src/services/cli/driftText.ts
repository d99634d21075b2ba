// Drift as a person reads it: one line for how it stands, and what moved most.
import type { DriftReport, DriftState } from "../../schema/model/Drift.ts"
import { formatCount } from "./format.ts"
import { type Column, renderTable } from "./table.ts"

const words: Readonly<Record<DriftState, string>> = {
  unknown: "unknown",
  stable: "stable: as the rows that the model was trained on",
  watch: "watch: something has moved",
  drifted: "drifted: train the model again, or look for what has changed"
}

const figure = (value: number): string => value.toFixed(3)

/** `stable: …`, with what it rests on. */
export const driftLine = (report: DriftReport): string => {
  if (report.state === "unknown") {
    return report.rows === 0 && report.blocks === 0
      ? "unknown: the model has no reference, or no rows were counted yet"
      : `unknown: ${formatCount(report.rows)} rows in ${report.blocks} stretches are too few`
  }
  const { psi, bound, ks, ksLevel } = report.energy
  return `${words[report.state]} (energy: PSI ${figure(psi)}, by chance below ${figure(bound)}; KS ${figure(ks)}, by chance below ${figure(ksLevel)})`
}

type Moved = DriftReport["features"][number]

const columns: ReadonlyArray<Column<Moved>> = [
  { header: "FEATURE", cell: (row) => row.feature },
  { header: "STATE", cell: (row) => row.state },
  { header: "PSI", align: "right", cell: (row) => figure(row.psi) },
  { header: "BY CHANCE", align: "right", cell: (row) => figure(row.bound) }
]

/** The features that moved, or that moved most where none has; empty without any. */
export const movedTable = ({ features }: DriftReport, most = 5): string => {
  const moved = features.filter(({ state }) => state !== "stable")
  const shown = (moved.length > 0 ? moved : features).slice(0, most)
  return shown.length === 0 ? "" : renderTable(columns, shown)
}

const signed = (value: number): string => `${value >= 0 ? "+" : ""}${value.toFixed(2)}`

/** `1.20 nats on average, +0.10 on the week before`; undefined while there is no week. */
export const weekLine = ({ week, weekBefore }: DriftReport): string | undefined =>
  week === null
    ? undefined
    : `${week.toFixed(2)} nats on average${weekBefore === null ? "" : `, ${signed(week - weekBefore)} on the week before`}`

/** Drift as lines of a described object. */
export const driftPairs = (report: DriftReport): ReadonlyArray<readonly [name: string, value: string]> => {
  const week = weekLine(report)
  const moved = report.state === "unknown" ? "" : movedTable(report)
  return [
    ["Drift", driftLine(report)],
    ...(moved === "" ? [] : ([["Moved most", moved]] as const)),
    ...(week === undefined ? [] : ([["Energy this week", week]] as const))
  ]
}
