// Question: what does one energy of 41 columns cost, alone and in batches, on one thread? Both stages of a model with all
// three energies, beside the call of a graph that is one small product.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { readBundle } from "../src/services/model/ModelStore.ts"
import { GraphSession, probeRows } from "../src/services/score/GraphSession.ts"
import { GraphBuilder } from "../src/services/train/graph.ts"
import { makeRandom } from "../src/services/train/random.ts"
import { trainStream } from "../src/services/train/trainStream.ts"
import { median, type Question, type Row, round } from "./report.ts"

const WIDTH = 41
const ROWS = 20_000
const BATCH = 256
/** Calls of one round, alone and in batches. */
const CALLS = { alone: 2_000, batch: 60 } as const
/** Goals in microseconds a row. */
const goals = { deep: { alone: 25, batch: 2 }, fast: { alone: undefined, batch: 0.5 } } as const

/** The least that a call of ONNX Runtime can do with such rows. */
const trivialGraph = (): Uint8Array => {
  const graph = new GraphBuilder()
  const rows = graph.input("rows", ["n", WIDTH])
  const sum = graph.matMul(rows, graph.constant(new Float32Array(WIDTH).fill(1), [WIDTH, 1]))
  return graph.serialize("trivial", [graph.output("energy", graph.reshape(sum, [-1], ["n"]))])
}

/** Median of a round, microseconds a row. */
const microsPerRow = async (session: GraphSession, rows: Float32Array, batch: number, calls: number) => {
  const energies = new Float32Array(batch)
  const times: Array<number> = []
  for (let call = 0; call < calls; call++) {
    const from = (call * batch) % (ROWS - batch)
    const part = rows.subarray(from * WIDTH, (from + batch) * WIDTH)
    const startedAt = performance.now()
    await session.score(part, batch, energies)
    times.push(performance.now() - startedAt)
  }
  return (median(times) * 1_000) / batch
}

const trainedGraphs = (rows: Float32Array) =>
  Effect.gen(function* () {
    const folder = mkdtempSync(join(tmpdir(), "groundstate-bench-"))
    yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
    yield* trainStream({
      stream: "bench",
      output: join(folder, "model"),
      rows,
      count: ROWS,
      features: Array.from({ length: WIDTH }, (_, at) => ({ kind: "value" as const, field: `f${at}` })),
      vocabularies: {},
      population: {},
      energy: "full"
    })
    return yield* readBundle(join(folder, "model"))
  }).pipe(Effect.scoped)

export const energy: Question = async ({ rounds }) => {
  const random = makeRandom(7)
  const rows = Float32Array.from({ length: ROWS * WIDTH }, (_, at) => random.normal() + (at % 5))
  const { manifest, files } = await Effect.runPromise(trainedGraphs(rows))
  const probe = probeRows(manifest.golden.rows, WIDTH)
  const sessions = new Map<string, GraphSession>([
    ["trivial", await GraphSession.open(trivialGraph(), WIDTH, probe)]
  ])
  for (const { step, score } of manifest.graphs) {
    sessions.set(step, await GraphSession.open(files.get(score) as Uint8Array, WIDTH, probe))
  }
  const times = new Map<string, Array<number>>()
  for (let turn = 0; turn < rounds; turn++) {
    for (const [name, session] of sessions) {
      for (const way of ["alone", "batch"] as const) {
        const key = `${name} ${way}`
        const taken = await microsPerRow(session, rows, way === "alone" ? 1 : BATCH, CALLS[way])
        times.set(key, [...(times.get(key) ?? []), taken])
      }
    }
  }
  for (const session of sessions.values()) await session.release()
  const figureOf = (key: string) => median(times.get(key) ?? [])
  return (["deep", "fast"] as const).flatMap((step) =>
    (["alone", "batch"] as const).map((way): Row => {
      const figure = figureOf(`${step} ${way}`)
      const limit = figureOf(`trivial ${way}`)
      const goal = goals[step][way]
      return {
        question: "energy",
        what: `${step === "deep" ? "three energies fused" : "first stage"}, ${way === "alone" ? "one row" : `a row of ${BATCH}`}`,
        figure: round(figure),
        unit: "µs/row",
        limit: round(limit),
        limitIs: "a graph of one product",
        ratio: round(limit / figure),
        ...(goal === undefined ? {} : { goal: `≤ ${goal} µs`, met: figure <= goal }),
        detail: { rounds: times.get(`${step} ${way}`)?.map(round), tiling: sessions.get(step)?.tiling }
      }
    })
  )
}
