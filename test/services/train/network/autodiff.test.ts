import fc from "fast-check"
import { Tensor } from "onnxruntime-node"
import { describe, expect, it } from "vitest"
import { type Expression, GraphBuilder } from "../../../../src/services/train/graph.ts"
import { gradients, NotDifferentiable } from "../../../../src/services/train/network/autodiff.ts"
import { silu } from "../../../../src/services/train/network/layers.ts"
import { makeRandom } from "../../../../src/services/train/random.ts"
import { openSession } from "../../../../src/services/train/session.ts"

const ROWS = 3
const COLUMNS = 4
const shapes = {
  x: [ROWS, COLUMNS],
  row: [1, COLUMNS],
  column: [ROWS, 1],
  matrix: [COLUMNS, COLUMNS]
} as const
type Name = keyof typeof shapes
const names = Object.keys(shapes) as ReadonlyArray<Name>
type Values = Readonly<Record<Name, Float32Array>>
type Inputs = Readonly<Record<Name, Expression>>

/** Steps that turn a [3, 4] value into another; all stay within the range where single precision can be differenced. */
const steps: ReadonlyArray<(graph: GraphBuilder, value: Expression, inputs: Inputs) => Expression> = [
  (graph, value, { row }) => graph.binary("Add", value, row),
  (graph, value, { column }) => graph.binary("Mul", value, column),
  (graph, value, { row }) => graph.binary("Sub", row, value),
  (graph, value, { column }) =>
    graph.binary("Div", value, graph.binary("Add", graph.unary("Exp", column), graph.constant([1], [1, 1]))),
  (graph, value, { matrix }) => graph.matMul(value, matrix),
  (graph, value) => silu(graph, value),
  (graph, value) => graph.unary("Tanh", value),
  (graph, value) => graph.unary("Neg", value),
  (graph, value, { x }) => graph.binary("Mul", graph.unary("Sigmoid", value), x),
  (graph, value) =>
    graph.unary("Log", graph.binary("Add", graph.binary("Mul", value, value), graph.constant([1], [1]))),
  (graph, value) =>
    graph.unary("Sqrt", graph.binary("Add", graph.binary("Mul", value, value), graph.constant([1], [1]))),
  (graph, value) =>
    graph.binary("Mul", value, graph.binary("Mul", graph.reduceSum(value, [1]), graph.constant([0.25], [1]))),
  (graph, value) => graph.binary("Sub", value, graph.reduceSum(value, [0])),
  (graph, value) => graph.reshape(graph.transpose(value), [ROWS, COLUMNS], [ROWS, COLUMNS]),
  (graph, value, { x }) => graph.concat([graph.slice(value, 1, 3, 1), graph.slice(x, 0, 2, 1)], 1),
  (graph, value, { column }) => graph.binary("Add", value, graph.expand(column, [ROWS, COLUMNS])),
  (graph, value, { column }) =>
    graph.matMul(graph.concat([value, column], 1), graph.constant(new Float32Array(20).fill(0.2), [5, 4]))
]

const inputsOf = (graph: GraphBuilder) =>
  Object.fromEntries(names.map((name) => [name, graph.input(name, shapes[name])])) as unknown as Inputs

const total = (graph: GraphBuilder, value: Expression) => graph.reduceSum(value, [0, 1])

const valuesOf = (seed: number): Values => {
  const random = makeRandom(seed)
  const draw = (name: Name) =>
    Float32Array.from({ length: shapes[name][0] * shapes[name][1] }, () => 0.6 * random.normal())
  return Object.fromEntries(names.map((name) => [name, draw(name)])) as unknown as Values
}

/** Runs a graph whose outputs are `f` [1, 1] and a gradient for each input. */
const opened = async (build: (graph: GraphBuilder, inputs: Inputs) => Expression) => {
  const graph = new GraphBuilder()
  const inputs = inputsOf(graph)
  const target = build(graph, inputs)
  const found = gradients(
    graph,
    target,
    names.map((name) => inputs[name])
  )
  const outputs = [target, ...found].map((value, at) => graph.output(["f", ...names][at] + "_out", value))
  const session = await openSession(graph.serialize("gradient", outputs))
  return async (values: Values) => {
    const answer = await session.run(
      Object.fromEntries(names.map((name) => [name, new Tensor("float32", values[name], shapes[name])]))
    )
    return (name: Name | "f") => answer[`${name}_out`].data as Float32Array
  }
}

/** Largest gap between the gradient and the slope of a line through two near points, as a share of the largest slope. */
const gap = async (run: Awaited<ReturnType<typeof opened>>, values: Values): Promise<number> => {
  const of = await run(values)
  const analytic: Array<number> = []
  const numeric: Array<number> = []
  const step = 1 / 128
  for (const name of names) {
    analytic.push(...of(name))
    for (let at = 0; at < values[name].length; at++) {
      const moved = async (by: number) => {
        const changed = { ...values, [name]: Float32Array.from(values[name]) }
        changed[name][at] += by
        return (await run(changed))("f")[0]
      }
      numeric.push(((await moved(step)) - (await moved(-step))) / (2 * step))
    }
  }
  const scale = Math.max(1, Math.abs(of("f")[0]), ...analytic.map(Math.abs))
  return Math.max(...analytic.map((value, at) => Math.abs(value - numeric[at]))) / scale
}

const chain = fc.array(fc.nat(steps.length - 1), { minLength: 1, maxLength: 5 })

describe("the gradient of a graph", () => {
  it("is the slope that finite differences find, for any chain of operators", () =>
    fc.assert(
      fc.asyncProperty(chain, fc.nat(1_000), async (chosen, seed) => {
        const run = await opened((graph, inputs) =>
          total(
            graph,
            chosen.reduce((value, step) => steps[step](graph, value, inputs), inputs.x)
          )
        )
        expect(await gap(run, valuesOf(seed))).toBeLessThan(5e-3)
      }),
      { numRuns: 60, seed: 5 }
    ))

  it("has a gradient itself: that of the squared length of a gradient agrees with finite differences, too", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(steps.length - 1), { minLength: 1, maxLength: 3 }),
        fc.nat(1_000),
        async (chosen, seed) => {
          const run = await opened((graph, inputs) => {
            const value = chosen.reduce((inner, step) => steps[step](graph, inner, inputs), inputs.x)
            const curved = total(graph, silu(graph, graph.matMul(value, inputs.matrix)))
            const [slope] = gradients(graph, curved, [inputs.x])
            return total(graph, graph.binary("Mul", slope, slope))
          })
          expect(await gap(run, valuesOf(seed))).toBeLessThan(1e-2)
        }
      ),
      { numRuns: 40, seed: 6 }
    ))

  it("is zero by what the target does not depend on, and has the shape of what it is taken by", async () => {
    const run = await opened((graph, { x }) => total(graph, graph.binary("Mul", x, x)))
    const values = valuesOf(1)
    const of = await run(values)
    expect([...of("matrix")]).toEqual(new Array(16).fill(0))
    expect([...of("x")]).toEqual([...values.x.map((value) => 2 * value)])
  })

  it("is refused for an operator without a slope", () => {
    const graph = new GraphBuilder()
    const { x } = inputsOf(graph)
    expect(() => gradients(graph, total(graph, graph.unary("Sign", x)), [x])).toThrow(NotDifferentiable)
  })
})
