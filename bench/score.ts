// What does one energy cost? Microseconds per row in ONNX Runtime, one thread, 41 columns, by batch size.
import { mkdtempSync, rmSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { readBundle } from "../src/services/model/ModelStore.ts"
import { OnnxScorer } from "../src/services/score/OnnxScorer.ts"
import { Scorer } from "../src/services/score/Scorer.ts"
import { makeRandom } from "../src/services/train/random.ts"
import { trainStream } from "../src/services/train/trainStream.ts"

const WIDTH = 41
const ROWS = 20_000
const random = makeRandom(7)
const rows = Float32Array.from({ length: ROWS * WIDTH }, (_, at) => random.normal() + (at % 5))

const measure = (placement: "inline" | "worker") =>
  Effect.gen(function* () {
    const dir = mkdtempSync(join(tmpdir(), "groundstate-bench-"))
    yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(dir, { recursive: true, force: true })))
    yield* trainStream({
      stream: "bench",
      output: join(dir, "model"),
      rows,
      count: ROWS,
      features: Array.from({ length: WIDTH }, (_, at) => ({ kind: "value" as const, field: `f${at}` })),
      vocabularies: {},
      population: {}
    })
    const bundle = yield* readBundle(join(dir, "model"))
    const model = yield* Effect.flatMap(Scorer, (scorer) => scorer.load(bundle)).pipe(
      Effect.provide(
        OnnxScorer.layerWith({ inlineCostMax: 1, batchRowsMax: 1024, workerTimeoutMillis: 10_000, placement })
      )
    )
    const energies = new Float32Array(4096)
    const figures: Array<{
      readonly batch: number
      readonly microsPerRow: number
      readonly microsPerBatch: number
    }> = []
    for (const batch of [1, 16, 256, 1024, 4096]) {
      const runs = Math.max(30, Math.min(3_000, Math.floor(60_000 / batch)))
      const times: Array<number> = []
      for (let run = 0; run < runs; run++) {
        const from = (run * batch) % (ROWS - batch)
        const startedAt = performance.now()
        yield* model.score("fast", rows.subarray(from * WIDTH, (from + batch) * WIDTH), batch, energies)
        times.push(performance.now() - startedAt)
      }
      const median = times.sort((a, b) => a - b)[runs >> 1] * 1000
      figures.push({ batch, microsPerRow: median / batch, microsPerBatch: median })
    }
    return { placement, costPerRow: bundle.manifest.graphs[0].costPerRow, figures }
  }).pipe(Effect.scoped)

/** Runs the bench; figures are medians, the hop through Effect and the event loop included. */
export const benchScore = Effect.all([measure("inline"), measure("worker")])

if (process.argv[1]?.endsWith("score.js")) {
  const results = await Effect.runPromise(benchScore)
  const lines = results.flatMap(({ placement, figures }) =>
    figures.map(
      ({ batch, microsPerRow, microsPerBatch }) =>
        `${placement.padEnd(7)} batch ${String(batch).padStart(5)}  ${microsPerRow.toFixed(3).padStart(9)} µs/row  ${microsPerBatch.toFixed(1).padStart(9)} µs/batch`
    )
  )
  process.stdout.write(`${cpus()[0].model}, ${WIDTH} columns, ${results[0].costPerRow} multiply-adds a row\n`)
  process.stdout.write(`${lines.join("\n")}\n${JSON.stringify(results)}\n`)
}
