import { Tensor } from "onnxruntime-node"
import { beforeAll, describe, expect, it } from "vitest"
import { quantile } from "../../../src/services/train/calibrate.ts"
import {
  type Encoder,
  encodeInGraph,
  fitEncoder,
  type InputColumn,
  noveltyNats,
  weighNovelties
} from "../../../src/services/train/encoder.ts"
import { GraphBuilder } from "../../../src/services/train/graph.ts"
import { cluster } from "../../../src/services/train/kmeans.ts"
import {
  byFeature,
  costs,
  encoderGraph,
  makeMixture,
  scoreGraph,
  shared
} from "../../../src/services/train/mixture.ts"
import { NothingVaries, runGraph } from "../../../src/services/train/prototypes.ts"
import { makeRandom } from "../../../src/services/train/random.ts"
import { openSession, runTable, type Table } from "../../../src/services/train/session.ts"
import {
  type TrainedGraph,
  type TrainedModel,
  trainDefaults,
  trainModel
} from "../../../src/services/train/trainModel.ts"
import { smallRows } from "../../support/smallModel.ts"

const number = { kind: "number", log: false } as const
const inputs: ReadonlyArray<InputColumn> = [number, number, { kind: "category", log: false }, number, number]
const table: Table = { rows: smallRows(2_000, 5), count: 2_000, width: 5 }

const energiesOf = async (graph: Uint8Array, of: Table) => {
  const session = await openSession(graph)
  try {
    return (await runTable(session, of, "energy", 1)).rows
  } finally {
    await session.release()
  }
}

const options = { ...trainDefaults, energy: "fast" } as const

const rowsOf = (...rows: ReadonlyArray<ReadonlyArray<number>>): Table => ({
  rows: Float32Array.from(rows.flat()),
  count: rows.length,
  width: rows[0].length
})

describe("reasons", () => {
  const column = (feature: number, source: "linear" | "level", level = 0) => ({
    feature,
    source,
    level,
    centre: 0,
    scale: 1
  })
  const encoder: Encoder = {
    inputs: [number, number, { kind: "category", log: false }, number],
    fill: new Float32Array(4),
    columns: [column(0, "linear"), column(3, "linear"), column(2, "level", 0), column(2, "level", 1)],
    novelties: []
  }
  // Two usual places, and a rare one of rows whose first column is 9 and whose last lies at 2.
  const centres = [
    [0, 0, 1, 0],
    [1, 0, 0, 1],
    [9, 2, 1, 0]
  ]
  const mixture = makeMixture(
    {
      count: 3,
      centres: Float32Array.from(centres.flat()),
      sizes: Float64Array.of(600, 392, 8),
      spreads: Float64Array.of(600, 392, 8)
    },
    4,
    1e-3
  )
  const z = [
    [9, 0, 1, 0],
    [0, 0, 1, 0],
    [0, 4, 0, 1],
    [1, -3, 1, 1]
  ]

  it("are what each feature costs: what the energy falls by were it free, in double precision", async () => {
    const graph = new GraphBuilder()
    const rows = graph.input("rows", ["n", 4])
    const bytes = graph.serialize("costs", [graph.output("costs", costs(graph, rows, encoder, mixture))])
    const found = (await runGraph(bytes, rowsOf(...z), "costs", 4)).rows
    const owners = encoder.columns.map(({ feature }) => feature)
    const energy = (row: ReadonlyArray<number>, free?: number) =>
      Math.min(
        ...centres.map((centre, k) => {
          const v = mixture.variances[k]
          const distance = row.reduce(
            (sum, value, at) => (owners[at] === free ? sum : sum + (value - centre[at]) ** 2),
            0
          )
          return distance / (2 * v) + 2 * Math.log(v) - Math.log(mixture.weights[k])
        })
      )
    z.forEach((row, at) => {
      for (const feature of [0, 1, 2, 3]) {
        const expected = energy(row) - energy(row, feature)
        expect(Math.abs(found[at * 4 + feature] - expected)).toBeLessThan(1e-4)
      }
    })
    // The rare place is the nearest to the first row, but for the value that is rare nothing would be odd.
    const first = [...found.subarray(0, 4)]
    expect(first.indexOf(Math.max(...first))).toBe(0)
    expect([...found.subarray(4, 8)]).toEqual([0, 0, 0, 0])
  })

  it("sum to what the row is above the median, and keep their order below it", async () => {
    const graph = new GraphBuilder()
    const rows = graph.input("rows", ["n", 4])
    const above = graph.slice(rows, 0, 1, 1)
    const contributions = shared(graph, above, graph.slice(rows, 1, 4, 1))
    const bytes = graph.serialize("shared", [graph.output("contributions", contributions)])
    const found = (await runGraph(bytes, rowsOf([8, 1, 3, 0], [-8, 1, 3, 0]), "contributions", 3)).rows
    const wanted = [2, 6, 0, -3, -1, -4]
    wanted.forEach((value, at) => {
      expect(Math.abs(found[at] - value)).toBeLessThan(1e-4)
    })
  })
})

describe("the encoder in the graph", () => {
  it("is what its parameters say, in double precision, for every kind of column", async () => {
    const mixed: ReadonlyArray<InputColumn> = [
      number,
      { kind: "number", log: true },
      { kind: "category", log: false }
    ]
    const of = rowsOf([1, 0, 0], [2, 10, 1], [Number.NaN, 1000, -2], [4, -50, 0], [9, 3, 1])
    const encoder = fitEncoder(of, mixed)
    expect(encoder.columns.map((column) => column.source)).toEqual([
      "linear",
      "log",
      "level",
      "level",
      "level",
      "missing"
    ])
    // One value, a missing one, is one row's alone; no row lacked the second number.
    expect(encoder.novelties).toEqual([
      { feature: 2, source: "unseen", level: 0, once: 1, nats: Math.log(6) },
      { feature: 1, source: "missing", level: 0, once: 0, nats: Math.log(6) }
    ])
    const session = await openSession(encoderGraph(encoder))
    const z = (await runTable(session, of, "encoded", encoder.columns.length)).rows
    for (let row = 0; row < of.count; row++) {
      encoder.columns.forEach((column, at) => {
        const raw = of.rows[row * 3 + column.feature]
        const filled = Number.isNaN(raw) ? encoder.fill[column.feature] : raw
        const u = {
          linear: filled,
          log: Math.sign(filled) * Math.log1p(Math.abs(filled)),
          level: filled === column.level ? 1 : 0,
          missing: Number.isNaN(raw) ? 1 : 0
        }[column.source]
        const expected = Math.max(-20, Math.min(20, (u - column.centre) * column.scale))
        expect(z[row * encoder.columns.length + at]).toBeCloseTo(expected, 4)
      })
    }
  })

  it("marks what no training row did", async () => {
    const encoder = fitEncoder(table, inputs)
    const graph = new GraphBuilder()
    const rows = graph.input("rows", ["n", 5])
    const { novel } = encodeInGraph(graph, rows, encoder)
    if (novel === undefined) throw new Error("no novelties")
    const session = await openSession(graph.serialize("novel", [graph.output("novel", novel)]))
    const of = rowsOf(
      [-4, 4, 0, 7, 0],
      [-4, 4, 0, 8, 0],
      [-4, 4, -1, 7, Number.NaN],
      [Number.NaN, 4, -2, 7, 0]
    )
    const flags = (await runTable(session, of, "novel", encoder.novelties.length)).rows
    const count = (row: number) =>
      flags
        .slice(row * encoder.novelties.length, (row + 1) * encoder.novelties.length)
        .reduce((a, b) => a + b)
    expect([0, 1, 2, 3].map(count)).toEqual([0, 1, 1, 2])
  })
})

describe("what a novelty is worth", () => {
  const nats = (encoder: Encoder) => [...noveltyNats(encoder, 0)]
  const constants = (count: number, width: number): Table => ({
    rows: Float32Array.from({ length: count * (width + 1) }, (_, at) =>
      at % (width + 1) === 0 ? Math.floor(at / (width + 1)) : 7
    ),
    count,
    width: width + 1
  })
  const numbers = (width: number) => Array.from({ length: width }, () => number)

  it("is as rare as anything that as many rows never did: the more ways there are, the less", () => {
    // A column that varies and is never missing, and one, or a hundred, that are constant and never missing.
    for (const [width, ways] of [
      [1, 3],
      [100, 201]
    ] as const) {
      const encoder = fitEncoder(constants(999, width), numbers(width + 1))
      expect(encoder.novelties).toHaveLength(ways)
      for (const one of nats(encoder)) expect(one).toBeCloseTo(-Math.log(1 - Math.exp(-ways / 1_000)), 5)
    }
  })

  it("is less of a value that none had where many values were had once", () => {
    const codes = (once: number): Table => ({
      rows: Float32Array.from({ length: 99 }, (_, row) => (row < once ? 10 + row : row % 3)),
      count: 99,
      width: 1
    })
    const category = [{ kind: "category", log: false } as const]
    expect(nats(fitEncoder(codes(1), category))[0]).toBeCloseTo(-Math.log(1 - Math.exp(-0.01)), 5)
    expect(nats(fitEncoder(codes(20), category))[0]).toBeCloseTo(-Math.log(1 - Math.exp(-0.2)), 5)
  })

  it("is half by the rows that were left out as suspect", () => {
    const kept = constants(999, 1)
    const encoder = fitEncoder(kept, numbers(2))
    const all: Table = {
      rows: Float32Array.from([...kept.rows, ...Array.from({ length: 100 }, () => [5, 8]).flat()]),
      count: 1_099,
      width: 2
    }
    const [differs] = weighNovelties(encoder, all).novelties
    expect(differs).toMatchObject({ feature: 1, source: "differs" })
    expect(differs.nats).toBeCloseTo((Math.log(1_000) + Math.log(1_100 / 100)) / 2, 9)
  })
})

describe("a sum by feature", () => {
  it("is the same by one product and by gathers, which wide rows need", async () => {
    const owners = [2, 0, 2, 2, 4]
    const weights = Float32Array.from([1, 2, 3, 4, 5])
    const values = rowsOf([1, 10, 100, 1_000, 10_000], [3, 1, 4, 1, 5])
    const sums = await Promise.all(
      [1_000, 0].map(async (tableMax) => {
        const graph = new GraphBuilder()
        const rows = graph.input("rows", ["n", 5])
        const sum = byFeature(graph, rows, owners, 6, weights, tableMax)
        return (await runGraph(graph.serialize("sums", [graph.output("sums", sum)]), values, "sums", 6)).rows
      })
    )
    for (const sum of sums) expect([...sum]).toEqual([20, 0, 4_301, 0, 50_000, 0, 2, 0, 19, 0, 25, 0])
  })
})

describe("the mixture's energy in the graph", () => {
  it("is that of the likeliest prototype, computed in double precision", async () => {
    const encoder = fitEncoder(table, inputs)
    const width = encoder.columns.length
    const session = await openSession(encoderGraph(encoder))
    const encoded = await runTable(session, table, "encoded", width)
    const clusters = await cluster(encoded, 40, makeRandom(1), { iterations: 5 })
    const mixture = makeMixture(clusters, width, 1e-3)
    expect(mixture.weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 9)
    const energies = await energiesOf(scoreGraph({ encoder, mixture, noveltyLeast: 0 }), table)
    for (let row = 0; row < 200; row++) {
      const logits = Array.from({ length: mixture.count }, (_, k) => {
        let squares = 0
        for (let at = 0; at < width; at++) {
          squares += (encoded.rows[row * width + at] - mixture.centres[k * width + at]) ** 2
        }
        const v = mixture.variances[k]
        return Math.log(mixture.weights[k]) - squares / (2 * v) - (width / 2) * Math.log(v)
      })
      const largest = Math.max(...logits)
      const expected = -largest
      // |z − c|² / 2v as one product loses what single precision loses of |z|² / 2v: at most a millionth of
      // that beside the ten-thousandth that every graph is held to.
      const nearest = logits.indexOf(largest)
      const z = encoded.rows.subarray(row * width, (row + 1) * width)
      const lost = z.reduce((sum, value) => sum + value * value, 0) / (2 * mixture.variances[nearest])
      expect(Math.abs(energies[row] - expected)).toBeLessThan(1e-4 + 1e-6 * lost)
    }
  })
})

describe("a trained mixture", () => {
  let trained: TrainedModel
  let fast: TrainedGraph
  beforeAll(async () => {
    trained = await trainModel(table, inputs, options)
    fast = trained.graphs[0]
  })

  it("has low energies for the like of its rows and high ones for anything else", async () => {
    const rows = smallRows(500, 77)
    const energies = await energiesOf(fast.score, { rows, count: 500, width: 5 })
    const strange = await energiesOf(
      fast.score,
      rowsOf([0, 0, 0, 7, 0], [-4, 4, 1, 7, 0], [-4, 4, 0, 7, 90], [4, 4, 0, 7, 0])
    )
    const high = quantile(
      [...energies].sort((a, b) => a - b),
      0.99
    )
    strange.forEach((energy, row) => {
      expect(energy, `row ${row}`).toBeGreaterThan(high)
    })
  })

  it("adds at least what Laplace's rule gives for a value that no row had: a new category, a constant that moved", async () => {
    const [plain, constant, category] = await energiesOf(
      fast.score,
      rowsOf([-4, 4, 0, 7, 0], [-4, 4, 0, 8, 0], [-4, 4, -1, 7, 0])
    )
    expect(constant - plain).toBeGreaterThan(Math.log(1_442) - 1e-3)
    expect(category - plain).toBeGreaterThan(Math.log(1_442) - 1e-3)
  })

  it("answers a finite energy for any row", async () => {
    const wild = [
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      3.4e38,
      -3.4e38,
      1e-45,
      0,
      -1,
      -2,
      99
    ]
    const energies = await energiesOf(
      fast.score,
      rowsOf(
        ...wild.map((value) => [value, value, value, value, value]),
        ...wild.map((value) => [0, 0, value, 7, value])
      )
    )
    expect([...energies].filter((energy) => !Number.isFinite(energy))).toEqual([])
  })

  it("is the same for the same seed, byte by byte, and another for another", async () => {
    const again = await trainModel(table, inputs, options)
    expect(Buffer.from(again.graphs[0].score).equals(fast.score)).toBe(true)
    expect(again.graphs[0].calibration).toEqual(fast.calibration)
    const other = await trainModel(table, inputs, { ...options, seed: 2 })
    expect(Buffer.from(other.graphs[0].score).equals(fast.score)).toBe(false)
  })

  it("explains: shares sum to the energy above the median, and the odd feature has the most", async () => {
    const session = await openSession(fast.explain as Uint8Array)
    const rows = Float32Array.from([-4, 4, 0, 7, 12, -4, 4, -1, 7, 0, -4, 4, 0, 9, 0, 4, -4, 1, 7, 0])
    const answer = await session.run({ rows: new Tensor("float32", rows, [4, 5]) })
    const energy = answer["energy"].data as Float32Array
    const contributions = answer["contributions"].data as Float32Array
    const expected = answer["expected"].data as Float32Array
    const median = quantile(fast.calibration.energies, 0.5)
    const most = [4, 2, 3]
    for (let row = 0; row < 4; row++) {
      const shares = [...contributions.subarray(row * 5, row * 5 + 5)]
      expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(energy[row] - median, 2)
      if (row < 3) expect(shares.indexOf(Math.max(...shares))).toBe(most[row])
    }
    expect(Math.abs(expected[0] + 4)).toBeLessThan(1.5)
    expect(Math.abs(expected[4])).toBeLessThan(3)
    expect([expected[2], expected[3], expected[15 + 2], expected[15 + 3]]).toEqual([0, 7, 1, 7])
    expect(
      (answer["prototype"].data as BigInt64Array).every((k) => k >= 0n && k < BigInt(trained.prototypes))
    ).toBe(true)
  })

  it("learns nothing from the calibration rows: they are held back", () => {
    expect(trained.heldBack).toBe(400)
    expect(fast.calibration.energies).toHaveLength(400)
    expect(trained.trimmed).toBe(160)
  })

  it("leaves suspect rows out, so that attacks among them do not become normal", async () => {
    const dirty = Float32Array.from(table.rows)
    const random = makeRandom(8)
    // 60 attacks, scattered where no normal row lies.
    for (let row = 0; row < 60; row++) {
      dirty.set(
        [8 + 2 * random.normal(), 8 + 2 * random.normal(), 0, 7, 6 + 2 * random.normal()],
        row * 33 * 5
      )
    }
    const with_ = { rows: dirty, count: 2_000, width: 5 }
    const attack = rowsOf([8, 8, 0, 7, 6])
    const kept = await trainModel(with_, inputs, options)
    const all = await trainModel(with_, inputs, { ...options, trim: 0 })
    const [trimmedEnergy] = await energiesOf(kept.graphs[0].score, attack)
    const [untrimmedEnergy] = await energiesOf(all.graphs[0].score, attack)
    expect(trimmedEnergy).toBeGreaterThan(untrimmedEnergy + 10)
  })

  it("says so where nothing varies, and stops when told to", async () => {
    const still = { rows: new Float32Array(100 * 5).fill(3), count: 100, width: 5 }
    await expect(trainModel(still, inputs, options)).rejects.toBeInstanceOf(NothingVaries)
    const controller = new AbortController()
    controller.abort(new Error("enough"))
    await expect(trainModel(table, inputs, { ...options, signal: controller.signal })).rejects.toThrow(
      "enough"
    )
  })
})
