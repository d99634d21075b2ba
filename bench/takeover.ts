// Question: how long after `kill -9` of one of two runners does every cell that it had score new events? Real processes,
// one PostgreSQL, one Kafka, the default settings; eight cells, an event that raises an alert every 25 ms to each.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { play } from "../chaos/play.ts"
import { kill } from "../chaos/scenarios/runners.ts"
import { type Question, quantile, type Row, round, summaryOf } from "./report.ts"

/** Kills per round asked for: five rounds, as is the default, make 20. */
const KILLS_PER_ROUND = 4

export const takeover: Question = async ({ rounds }) => {
  const folder = mkdtempSync(join(tmpdir(), "groundstate-takeover-"))
  try {
    const told = await play(
      { ...kill, stage: { load: { rate: 40, probeEvery: 25 } } },
      {
        seed: 1,
        folder,
        length: "usual",
        kills: rounds * KILLS_PER_ROUND,
        say: () => undefined
      }
    )
    const { because, copies, lost, recoveries, verdict } = told
    if (recoveries.length === 0) throw new Error(because.join("; "))
    const p95 = quantile(recoveries, 0.95)
    const rows: ReadonlyArray<Row> = [
      {
        question: "takeover",
        what: `all cells again after kill -9, p95 of ${recoveries.length}`,
        figure: round(p95),
        unit: "ms",
        goal: "< 5000, then 1500",
        met: p95 < 5_000 && verdict === "held",
        detail: { ...summaryOf(recoveries), p95: round(p95), lost, copiesOfAlerts: copies, because }
      },
      {
        question: "takeover",
        what: "the same, median",
        figure: round(quantile(recoveries, 0.5)),
        unit: "ms"
      }
    ]
    return rows
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
