// Question: how long after `kill -9` of one of two runners does every cell that it had score new events? Real processes,
// one PostgreSQL, one Kafka, the default settings; eight cells, an event that raises an alert every 25 ms to each.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PROBE_PARTITIONS, probeEvent, probeStream } from "../test/support/probeStream.ts"
import { divided, probe, startRegion } from "../test/support/region.ts"
import { passes } from "../test/support/runner.ts"
import { type Question, quantile, type Row, round, summaryOf } from "./report.ts"

/** Kills per round asked for: five rounds, as is the default, make 20. */
const KILLS_PER_ROUND = 4

export const takeover: Question = async ({ rounds }) => {
  const folder = mkdtempSync(join(tmpdir(), "groundstate-takeover-"))
  const region = await startRegion({ folder, stream: probeStream })
  const times: Array<number> = []
  let lost = 0
  let copies = 0
  try {
    for (const name of ["a", "b"]) await (await region.start(name)).ready()
    const running = await probe(region, probeStream.source.topic, PROBE_PARTITIONS, probeEvent)
    for (let kill = 0; kill < rounds * KILLS_PER_ROUND; kill++) {
      const [victim, witness] = kill % 2 === 0 ? ["a", "b"] : ["b", "a"]
      const one = region.runners.get(victim)
      const other = region.runners.get(witness)
      if (one === undefined || other === undefined) throw new Error("a runner is missing")
      const had = (await divided(other, [4, 4])).get(victim) ?? []
      // Over the interval between two checkpoints.
      await passes((kill * 618) % 1_000)
      const at = performance.now()
      await one.kill9()
      times.push(await running.recovery(at, had))
      await (await region.start(victim)).ready()
    }
    await running.finish()
    for (const event of running.sent.flat()) {
      if (event.seenAt === 0) lost++
      copies += event.copies - 1
    }
  } finally {
    await region.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  const p95 = quantile(times, 0.95)
  const rows: ReadonlyArray<Row> = [
    {
      question: "takeover",
      what: `all cells again after kill -9, p95 of ${times.length}`,
      figure: round(p95),
      unit: "ms",
      goal: "< 5000, then 1500",
      met: p95 < 5_000 && lost === 0,
      detail: { ...summaryOf(times), p95: round(p95), lost, copiesOfAlerts: copies }
    },
    {
      question: "takeover",
      what: "the same, median",
      figure: round(quantile(times, 0.5)),
      unit: "ms"
    }
  ]
  return rows
}
