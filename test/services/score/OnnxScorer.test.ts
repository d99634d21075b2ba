import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { readBundle } from "../../../src/services/model/ModelStore.ts"
import { GraphSession, probeRows } from "../../../src/services/score/GraphSession.ts"
import { OnnxScorer, type OnnxScorerOptions } from "../../../src/services/score/OnnxScorer.ts"
import { type ModelBundle, Scorer } from "../../../src/services/score/Scorer.ts"
import { smallRows, temporaryFolder, writeSmallModel } from "../../support/smallModel.ts"

const WIDTH = 5
const bounds: OnnxScorerOptions = { inlineCostMax: 1e9, batchRowsMax: 1024, workerTimeoutMillis: 10_000 }

const load = (bundle: ModelBundle, options: Partial<OnnxScorerOptions> = {}) =>
  Effect.flatMap(Scorer, (scorer) => scorer.load(bundle)).pipe(
    Effect.provide(OnnxScorer.layerWith({ ...bounds, ...options }))
  )

const smallBundle = Effect.gen(function* () {
  return yield* readBundle(yield* writeSmallModel(yield* temporaryFolder))
})

for (const placement of ["inline", "worker"] as const) {
  describe(`scoring ${placement}`, () => {
    it.scoped("gives a row the same bits in any batch, at any place", () =>
      Effect.gen(function* () {
        const model = yield* load(yield* smallBundle, { placement })
        expect(model).toMatchObject({ placement, width: WIDTH, steps: ["fast"] })
        const rows = smallRows(2_500, 31)
        const whole = new Float32Array(2_500)
        yield* model.score("fast", rows, 2_500, whole)
        const part = new Float32Array(1_500)
        for (const size of [1, 2, 3, 7, 16, 64, 255, 256, 1_024, 1_025]) {
          for (const from of [0, 1, 13, 900]) {
            yield* model.score("fast", rows.subarray(from * WIDTH, (from + size) * WIDTH), size, part)
            expect(part.subarray(0, size), `${size} rows from ${from}`).toEqual(
              whole.subarray(from, from + size)
            )
          }
        }
      })
    )

    it.scoped("explains rows: shares of the energy, expected values, a prototype", () =>
      Effect.gen(function* () {
        const bundle = yield* smallBundle
        const model = yield* load(bundle, { placement })
        const rows = Float32Array.from([-4, 4, 0, 7, 30, -4, 4, 0, 7, 0])
        const energies = new Float32Array(2)
        yield* model.score("fast", rows, 2, energies)
        const [odd, normal] = yield* model.explain("fast", rows, 2)
        expect(Math.abs(odd.energy - energies[0])).toBeLessThan(1e-3)
        expect(odd.contributions.indexOf(Math.max(...odd.contributions))).toBe(4)
        expect(Math.abs(odd.expected[4])).toBeLessThan(3)
        expect(odd.prototype).toBeGreaterThanOrEqual(0)
        expect(normal.energy).toBeLessThan(odd.energy)
        expect(yield* model.explain("fast", rows, 0)).toEqual([])
      })
    )

    it.scoped("fails where an energy is no number, and scores the next batch", () =>
      Effect.gen(function* () {
        const bundle = yield* smallBundle
        const model = yield* load(yield* unguarded(bundle), { placement })
        const energies = new Float32Array(2)
        const rows = smallRows(2, 1)
        yield* model.score("fast", rows, 2, energies)
        const bad = Float32Array.from(rows)
        bad[0] = Number.NaN
        expect(yield* Effect.flip(model.score("fast", bad, 2, energies))).toMatchObject({
          reason: "non-finite"
        })
        yield* model.score("fast", rows, 2, energies)
      })
    )

    it.effect("is closed with its scope", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const bundle = yield* Scope.extend(smallBundle, scope)
        const model = yield* Scope.extend(load(bundle, { placement }), scope)
        yield* Scope.close(scope, Exit.void)
        const energies = new Float32Array(1)
        expect(yield* Effect.flip(model.score("fast", smallRows(1, 1), 1, energies))).toMatchObject({
          reason: "closed"
        })
      })
    )
  })
}

/** The bundle with a score graph that answers the sum of a row, NaN included, and golden rows that fit it. */
const unguarded = (bundle: ModelBundle) =>
  Effect.promise(async (): Promise<ModelBundle> => {
    const { GraphBuilder } = await import("../../../src/services/train/graph.ts")
    const graph = new GraphBuilder()
    const rows = graph.input("rows", ["n", WIDTH])
    const sum = graph.matMul(rows, graph.constant([1, 1, 1, 1, 1], [WIDTH, 1]))
    const bytes = graph.serialize("sum", [graph.output("energy", graph.reshape(sum, [-1], ["n"]))])
    const golden = { rows: [[1, 2, 3, 4, 5]], energies: [15] }
    return {
      ...bundle,
      manifest: { ...bundle.manifest, golden },
      files: new Map([...bundle.files, [bundle.manifest.graphs[0].score, bytes]])
    }
  })

describe("loading", () => {
  it.scoped("goes by cost where the placement is left open", () =>
    Effect.gen(function* () {
      const bundle = yield* smallBundle
      const cost = bundle.manifest.graphs[0].costPerRow * 1024
      expect((yield* load(bundle, { inlineCostMax: cost })).placement).toBe("inline")
      expect((yield* load(bundle, { inlineCostMax: cost - 1 })).placement).toBe("worker")
    })
  )

  it.scoped("refuses a bundle whose energies are not those it was trained with", () =>
    Effect.gen(function* () {
      const bundle = yield* smallBundle
      const energies = bundle.manifest.golden.energies.map((energy, row) =>
        row === 1 ? energy + 0.01 : energy
      )
      const forged = {
        ...bundle,
        manifest: { ...bundle.manifest, golden: { ...bundle.manifest.golden, energies } }
      }
      const error = yield* Effect.flip(load(forged))
      expect(error).toMatchObject({ _tag: "ModelRefused", reason: "golden-mismatch" })
      expect(error.detail).toContain("golden row 1")
    })
  )

  it.scoped("refuses bytes that are no model, here and in a worker", () =>
    Effect.gen(function* () {
      const bundle = yield* smallBundle
      const broken = {
        ...bundle,
        files: new Map([...bundle.files].map(([name]) => [name, new Uint8Array([1, 2, 3])]))
      }
      for (const placement of ["inline", "worker"] as const) {
        expect(yield* Effect.flip(load(broken, { placement }))).toMatchObject({ reason: "will-not-load" })
      }
      expect(yield* Effect.flip(load({ ...bundle, files: new Map() }))).toMatchObject({
        reason: "missing-file"
      })
    })
  )

  it("finds a tiling that keeps bits, and pads or splits where the kernels do not", async () => {
    const { GraphBuilder } = await import("../../../src/services/train/graph.ts")
    const graph = new GraphBuilder()
    const rows = graph.input("rows", ["n", 3])
    // Logarithms of a buffer that is no multiple of the vector width: its last elements come out otherwise.
    const logs = graph.unary(
      "Log",
      graph.binary("Add", graph.unary("Abs", rows), graph.constant([1.1], [1, 1]))
    )
    const sum = graph.matMul(logs, graph.constant([1, 1, 1], [3, 1]))
    const bytes = graph.serialize("logs", [graph.output("energy", graph.reshape(sum, [-1], ["n"]))])
    const golden = [
      [1.5, 2.25, 3],
      [40, -7, 0.1],
      [1e4, 3e-3, 12]
    ]
    const session = GraphSession.open(
      bytes,
      3,
      probeRows(
        golden.map((row) => row.map((value) => value * 1.37)),
        3
      )
    )
    const table = Float32Array.from({ length: 300 * 3 }, (_, at) => Math.sin(at) * 40)
    const whole = new Float32Array(300)
    await session.score(table, 300, whole)
    const part = new Float32Array(300)
    for (const size of [1, 2, 5, 17, 63]) {
      await session.score(table.subarray(7 * 3, (7 + size) * 3), size, part)
      expect(part.subarray(0, size), `${session.tiling}, ${size}`).toEqual(whole.subarray(7, 7 + size))
    }
    await session.release()
  })
})
