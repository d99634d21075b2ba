import { Tensor } from "onnxruntime-node"
import { beforeAll, describe, expect, it } from "vitest"
import { pvalueOf, quantile } from "../../../src/services/train/calibrate.ts"
import { noveltyNats } from "../../../src/services/train/encoder.ts"
import {
  fitCurves,
  fusedEnergies,
  fusedScoreGraph,
  MEMBERS,
  type Members,
  membersGraph
} from "../../../src/services/train/fusion.ts"
import { autoencoderObjective } from "../../../src/services/train/network/autoencoder.ts"
import { optimise } from "../../../src/services/train/network/optimise.ts"
import { scoreMatchingObjective } from "../../../src/services/train/network/scoreMatching.ts"
import { encode, fitMixture, plainGrain, runGraph } from "../../../src/services/train/prototypes.ts"
import { makeRandom } from "../../../src/services/train/random.ts"
import { openSession, type Table } from "../../../src/services/train/session.ts"
import {
  type TrainedGraph,
  type TrainedModel,
  trainDefaults,
  trainModel
} from "../../../src/services/train/trainModel.ts"
import { smallRows } from "../../support/smallModel.ts"

const number = { kind: "number", log: false } as const
const inputs = [number, number, { kind: "category", log: false } as const, number, number]
const tableOf = (count: number, seed: number): Table => ({ rows: smallRows(count, seed), count, width: 5 })
const table = tableOf(2_000, 5)
const options = { ...trainDefaults, autoencoderSteps: 400, scoreMatchingSteps: 400 } as const

const energiesOf = async (graph: Uint8Array, of: Table) => (await runGraph(graph, of, "energy", 1)).rows

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

/** A perceptron in double precision; parameters as `denseShapes` lays them out. */
const forward = (
  parameters: Float32Array,
  from: number,
  sizes: ReadonlyArray<number>,
  x: ReadonlyArray<number>
) => {
  let at = from
  let value = x
  sizes.slice(1).forEach((outputs, layer) => {
    const inner = layer === 0 ? value : value.map((a) => a * sigmoid(a))
    const offset = at + inner.length * outputs
    value = Array.from({ length: outputs }, (_, out) =>
      inner.reduce(
        (sum, a, into) => sum + a * parameters[at + into * outputs + out],
        parameters[offset + out]
      )
    )
    at = offset + outputs
  })
  return value
}

describe("the energies as one graph", () => {
  let members: Members
  let z: Table
  let energies: Float32Array
  beforeAll(async () => {
    const { encoder, encoded } = await encode(table, inputs)
    const { width } = encoded
    const draws = { seed: 1, stream: 20 }
    members = {
      encoder,
      mixture: await fitMixture(encoded, { grain: plainGrain(40), seed: 1, stream: 4 }),
      trusting: await fitMixture(encoded, { grain: plainGrain(20), seed: 1, stream: 5 }),
      autoencoder: await optimise(encoded, autoencoderObjective(width, 100), draws),
      scoreMatching: await optimise(encoded, scoreMatchingObjective(width, 100), draws)
    }
    z = encoded
    energies = (await runGraph(membersGraph(members), table, "energies", MEMBERS)).rows
  })

  it("are what the networks' parameters say, in double precision", () => {
    const { width } = z
    for (let row = 0; row < 50; row++) {
      const x = [...z.rows.subarray(row * width, (row + 1) * width)]
      const restored = forward(members.autoencoder, 0, [width, 128, 32, 128, width], x)
      const residual = restored.reduce((sum, value, at) => sum + (value - x[at]) ** 2, 0)
      expect(Math.abs(energies[row * MEMBERS + 2] - residual)).toBeLessThan(1e-4)
      // At noise as wide as the rows are, s = 1. The last offset is the same for all rows, so the graph leaves it out.
      const scaled = [...x.map((value) => value / Math.sqrt(2)), 0]
      const [potential] = forward(members.scoreMatching, 0, [width + 1, 128, 128, 1], scaled)
      const wanted = potential - (members.scoreMatching.at(-1) as number)
      expect(Math.abs(energies[row * MEMBERS + 3] - wanted)).toBeLessThan(1e-4)
    }
  })

  /** As its rows are, a new category, a constant that moved, both. */
  const news: Table = {
    rows: Float32Array.from([-4, 4, 0, 7, 0, -4, 4, -1, 7, 0, -4, 4, 0, 8, 0, -4, 4, 5, 8, 0]),
    count: 4,
    width: 5
  }

  it("have what a row does that none did as a member of their own, which no other sees", async () => {
    const found = (await runGraph(membersGraph(members), news, "energies", MEMBERS)).rows
    const nats = noveltyNats(members.encoder, 0)
    const at = (source: string) => nats[members.encoder.novelties.findIndex((one) => one.source === source)]
    const novelty = [0, 1, 2, 3].map((row) => found[row * MEMBERS + 4])
    const expected = [0, at("unseen"), at("differs"), at("unseen") + at("differs")]
    novelty.forEach((value, row) => {
      expect(Math.abs(value - expected[row])).toBeLessThan(1e-5)
    })
    expect(found.slice(2 * MEMBERS, 3 * MEMBERS - 1)).toEqual(found.slice(0, MEMBERS - 1))
  })

  it.each(["rows that train", "rows with news"])(
    "fuse to the weighted sum of their surprises, in double precision: %s",
    async (which) => {
      const curves = fitCurves(energies.subarray(0, 400 * MEMBERS), z.width)
      const of = which === "rows with news" ? news : table
      const fused = await energiesOf(fusedScoreGraph(members, curves), of)
      const found = (await runGraph(membersGraph(members), of, "energies", MEMBERS)).rows
      fusedEnergies(curves, found).forEach((expected, row) => {
        expect(Math.abs(fused[row] - expected)).toBeLessThan(1e-4)
        expect(Math.abs(fused[row] / expected - 1)).toBeLessThan(1e-5)
      })
    }
  )
})

describe("a trained model of all energies", () => {
  let trained: TrainedModel
  let deep: TrainedGraph
  beforeAll(async () => {
    trained = await trainModel(table, inputs, options)
    deep = trained.graphs[0]
  })

  it("holds the fusion and the first stage, each with its own calibration", () => {
    expect(trained.graphs.map(({ step }) => step)).toEqual(["deep", "fast"])
    expect(trained.graphs[0].calibration).not.toEqual(trained.graphs[1].calibration)
    expect(trained.graphs[0].costPerRow).toBeGreaterThan(trained.graphs[1].costPerRow)
    expect(trained).toMatchObject({ heldBack: 400, trimmed: 160 })
  })

  it("alarms on fresh normal rows as often as its p-values say", async () => {
    for (const { score, calibration } of trained.graphs) {
      const fresh = await energiesOf(score, tableOf(4_000, 78))
      const alarms = fresh.filter((energy) => pvalueOf(calibration, energy) <= 0.05).length
      expect(alarms / 4_000).toBeGreaterThan(0.025)
      expect(alarms / 4_000).toBeLessThan(0.075)
    }
  })

  it("gives a row the same bits in any batch, at any place", async () => {
    const session = await openSession(deep.score)
    const run = async (from: number, count: number) => {
      const rows = new Tensor("float32", table.rows.subarray(from * 5, (from + count) * 5), [count, 5])
      return (await session.run({ rows }))["energy"].data as Float32Array
    }
    const whole = await run(0, 1_024)
    for (const size of [1, 2, 3, 7, 16, 64, 255]) {
      for (const from of [0, 1, 13, 700]) {
        expect(await run(from, size), `${size} rows from ${from}`).toEqual(whole.slice(from, from + size))
      }
    }
  })

  it("is the same for the same seed, byte by byte", async () => {
    const again = await trainModel(table, inputs, options)
    again.graphs.forEach(({ score, explain, calibration }, at) => {
      expect(Buffer.from(score).equals(trained.graphs[at].score)).toBe(true)
      expect(Buffer.from(explain as Uint8Array).equals(trained.graphs[at].explain as Uint8Array)).toBe(true)
      expect(calibration).toEqual(trained.graphs[at].calibration)
    })
  })

  it("answers a finite energy for any row, and a higher one than a normal row has", async () => {
    const wild = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3.4e38, -3.4e38, 99]
    const rows = Float32Array.from(wild.flatMap((value) => [value, value, value, value, value]))
    const energies = await energiesOf(deep.score, { rows, count: wild.length, width: 5 })
    const high = quantile(deep.calibration.energies, 0.95)
    energies.forEach((energy, at) => {
      expect(Number.isFinite(energy), String(wild[at])).toBe(true)
      expect(energy, String(wild[at])).toBeGreaterThan(high)
    })
  })

  it("explains: shares sum to the energy above the median, and a changed feature has one of the two largest", async () => {
    const random = makeRandom(4)
    const count = 200
    const changed = Array.from({ length: count }, () => [0, 1, 4][random.below(3)])
    const rows = smallRows(count, 91)
    changed.forEach((feature, row) => {
      rows[row * 5 + feature] = (random.below(2) === 0 ? -1 : 1) * (9 + 4 * random.uniform())
    })
    const session = await openSession(deep.explain as Uint8Array)
    const answer = await session.run({ rows: new Tensor("float32", rows, [count, 5]) })
    const energy = answer["energy"].data as Float32Array
    const contributions = answer["contributions"].data as Float32Array
    expect(energy).toEqual(await energiesOf(deep.score, { rows, count, width: 5 }))
    const median = quantile(deep.calibration.energies, 0.5)
    let found = 0
    changed.forEach((feature, row) => {
      const shares = [...contributions.subarray(row * 5, row * 5 + 5)]
      expect(Math.abs(shares.reduce((sum, share) => sum + share) - (energy[row] - median))).toBeLessThan(1e-3)
      if (shares.filter((share) => share > shares[feature]).length < 2) found++
    })
    expect(found / count).toBeGreaterThanOrEqual(0.9)
  })

  it("lets a new category or a constant that moved stand out, and names it", async () => {
    const rows = Float32Array.from([-4, 4, 0, 7, 0, -4, 4, -1, 7, 0, -4, 4, 0, 8, 0])
    const session = await openSession(deep.explain as Uint8Array)
    const answer = await session.run({ rows: new Tensor("float32", rows, [3, 5]) })
    await session.release()
    const energy = answer["energy"].data as Float32Array
    const contributions = answer["contributions"].data as Float32Array
    for (const [row, feature] of [
      [1, 2],
      [2, 3]
    ]) {
      // What 1,600 rows never did, in one of six ways: four columns missing, a constant moved, a new category.
      expect(energy[row]).toBeGreaterThan(energy[0] + 4)
      expect(pvalueOf(deep.calibration, energy[row])).toBeLessThan(0.05)
      const shares = [...contributions.subarray(row * 5, row * 5 + 5)]
      expect(shares.indexOf(Math.max(...shares))).toBe(feature)
    }
  })

  it("stops when told to, also in the middle of a network", async () => {
    const controller = new AbortController()
    const phases = new Set<string>()
    await expect(
      trainModel(table, inputs, {
        ...options,
        signal: controller.signal,
        progress: (phase, done, total) => {
          phases.add(phase)
          if (phase === "fit" && done / total > 0.5) controller.abort(new Error("enough"))
        }
      })
    ).rejects.toThrow("enough")
    expect([...phases]).toEqual(["trim", "fit"])
  })
})
