import { Tensor } from "onnxruntime-node"
import { describe, expect, it } from "vitest"
import { GraphBuilder } from "../../../../src/services/train/graph.ts"
import { adamw, scheduleStep } from "../../../../src/services/train/network/adamw.ts"
import { autoencoderObjective, residuals } from "../../../../src/services/train/network/autoencoder.ts"
import { optimise } from "../../../../src/services/train/network/optimise.ts"
import {
  meanPotential,
  potential,
  potentialSlope,
  scoreMatchingObjective
} from "../../../../src/services/train/network/scoreMatching.ts"
import { runGraph } from "../../../../src/services/train/prototypes.ts"
import { makeRandom } from "../../../../src/services/train/random.ts"
import { openSession, type Table } from "../../../../src/services/train/session.ts"

/** Rows on a line: the second and third columns follow from the first. */
const line = (count: number, seed: number): Table => {
  const random = makeRandom(seed)
  const rows = new Float32Array(count * 3)
  for (let row = 0; row < count; row++) {
    const x = random.normal()
    rows.set([x, -x + 0.1 * random.normal(), 0.5 * x + 0.1 * random.normal()], row * 3)
  }
  return { rows, count, width: 3 }
}

const table = line(1_000, 4)
const options = { seed: 3, stream: 20 }
const of = (values: ReadonlyArray<number>): Table => ({
  rows: Float32Array.from(values),
  count: values.length / 3,
  width: 3
})

const energyGraph = (
  parameters: Float32Array,
  of: (
    graph: GraphBuilder,
    z: ReturnType<GraphBuilder["input"]>,
    parameters: Float32Array
  ) => ReturnType<GraphBuilder["input"]>
) => {
  const graph = new GraphBuilder()
  const z = graph.input("rows", ["n", 3])
  return graph.serialize("energy", [graph.output("out", of(graph, z, parameters))])
}

describe("AdamW in a graph", () => {
  it("takes the steps that its definition gives in double precision", async () => {
    const graph = new GraphBuilder()
    const [parameters, first, second, gradient] = ["p", "m", "v", "g"].map((name) => graph.input(name, [2]))
    const numbers = graph.input("numbers", [3])
    const next = adamw(graph, { parameters, first, second }, gradient, numbers)
    const session = await openSession(
      graph.serialize("adamw", [
        graph.output("p_next", next.parameters),
        graph.output("m_next", next.first),
        graph.output("v_next", next.second)
      ])
    )
    const steps = 5
    const [rate, decay] = [0.01, 0.1]
    let state: Array<Float32Array> = [Float32Array.of(1, -2), new Float32Array(2), new Float32Array(2)]
    const [p, m, v] = [
      [1, -2],
      [0, 0],
      [0, 0]
    ]
    for (let step = 0; step < steps; step++) {
      const slope = [0.3 * (step + 1), -1]
      const now = new Float32Array(3)
      scheduleStep(step, steps, { rate, decay }, now)
      const tensor = (data: Float32Array) => new Tensor("float32", data, [data.length])
      const answer = await session.run({
        p: tensor(state[0]),
        m: tensor(state[1]),
        v: tensor(state[2]),
        g: tensor(Float32Array.from(slope)),
        numbers: tensor(now)
      })
      state = ["p_next", "m_next", "v_next"].map((name) => answer[name].data as Float32Array)
      const lr = (rate * (1 + Math.cos((Math.PI * step) / steps))) / 2
      for (let at = 0; at < 2; at++) {
        m[at] = 0.9 * m[at] + 0.1 * slope[at]
        v[at] = 0.999 * v[at] + 0.001 * slope[at] ** 2
        const mean = m[at] / (1 - 0.9 ** (step + 1))
        const square = v[at] / (1 - 0.999 ** (step + 1))
        p[at] -= lr * decay * p[at] + (lr * mean) / (Math.sqrt(square) + 1e-8)
        expect(state[0][at]).toBeCloseTo(p[at], 5)
      }
    }
  })
})

describe("training a network", () => {
  it("gives the same bits for the same seed, and others for another", async () => {
    const objective = scoreMatchingObjective(3, 40)
    const first = await optimise(table, objective, options)
    expect(await optimise(table, objective, options)).toEqual(first)
    expect(await optimise(table, objective, { ...options, seed: 4 })).not.toEqual(first)
  })

  it("reports how far it is, and stops when told to", async () => {
    const controller = new AbortController()
    const seen: Array<number> = []
    const objective = autoencoderObjective(3, 200)
    const running = optimise(table, objective, {
      ...options,
      signal: controller.signal,
      progress: (done, total) => {
        seen.push(done / total)
        if (done >= 32) controller.abort(new Error("enough"))
      }
    })
    await expect(running).rejects.toThrow("enough")
    expect(seen).toEqual([0, 0.08, 0.16])
  })

  it("an autoencoder learns how columns hang together: a broken relation has a high residual, where it broke", async () => {
    const parameters = await optimise(table, autoencoderObjective(3, 600), options)
    const graph = energyGraph(parameters, residuals)
    const parts = (await runGraph(graph, of([1, -1, 0.5, 1, 1, 0.5]), "out", 3)).rows
    const [kept, broken] = [parts.subarray(0, 3), parts.subarray(3)].map((row) => row.reduce((a, b) => a + b))
    expect(broken).toBeGreaterThan(20 * kept)
    expect(parts.indexOf(Math.max(...parts))).toBe(4)
  })

  it.each([
    ["averaged", meanPotential, 1],
    // Noise as wide as the rows blurs what lies nearer than that.
    ["at one level of noise", potential, 0.5]
  ])("score matching learns a potential that is low where rows lie, %s", async (_, energy, apart) => {
    const parameters = await optimise(table, scoreMatchingObjective(3, 600), options)
    const points = of([0, 0, 0, 1, -1, 0.5, 1, 1, 0.5, -1, -1, 2, 6, -6, 3])
    const [middle, along, off, other, far] = (
      await runGraph(energyGraph(parameters, energy), points, "out", 1)
    ).rows
    expect(along).toBeLessThan(off - apart)
    expect(middle).toBeLessThan(other - apart)
    expect(along).toBeLessThan(far)
  })

  it("the potential's slope is that of its energy", async () => {
    const parameters = await optimise(table, scoreMatchingObjective(3, 100), options)
    const at = [0.4, -0.2, 1.1]
    const slope = (await runGraph(energyGraph(parameters, potentialSlope), of(at), "out", 3)).rows
    const step = 1 / 64
    for (let column = 0; column < 3; column++) {
      const ends = [step, -step].flatMap((by) => at.map((x, other) => (other === column ? x + by : x)))
      const [high, low] = (await runGraph(energyGraph(parameters, potential), of(ends), "out", 1)).rows
      expect(slope[column]).toBeCloseTo((high - low) / (2 * step), 2)
    }
  })
})
