import onnxProto from "onnx-proto"
import { Tensor } from "onnxruntime-node"
import { describe, expect, it } from "vitest"
import { broadcast, GraphBuilder, IR_VERSION, OPSET } from "../../../src/services/train/graph.ts"
import { openSession } from "../../../src/services/train/session.ts"

const distance = () => {
  const graph = new GraphBuilder()
  const rows = graph.input("rows", ["n", 3])
  const shifted = graph.binary("Sub", rows, graph.constant([1, 2, 3], [1, 3]))
  const squares = graph.binary("Mul", shifted, shifted)
  graph.unary("Exp", squares)
  const sum = graph.matMul(squares, graph.constant([1, 1, 1], [3, 1]))
  return graph.serialize("distance", [graph.output("energy", graph.reshape(sum, [-1], ["n"]))])
}

describe("a graph", () => {
  it("runs in ONNX Runtime as it was written", async () => {
    const session = await openSession(distance())
    const answer = await session.run({ rows: new Tensor("float32", [1, 2, 3, 2, 4, 6], [2, 3]) })
    expect([...(answer["energy"].data as Float32Array)]).toEqual([0, 14])
  })

  it("keeps what its outputs need and drops the rest", () => {
    const model = onnxProto.onnx.ModelProto.decode(distance())
    expect(model.graph?.node?.map((node) => node.opType)).toEqual([
      "Sub",
      "Mul",
      "MatMul",
      "Reshape",
      "Identity"
    ])
    expect(Number(model.irVersion)).toBe(IR_VERSION)
    expect(Number(model.opsetImport?.[0].version)).toBe(OPSET)
  })

  it("has the same bytes each time it is built", () => {
    expect(Buffer.from(distance()).equals(distance())).toBe(true)
  })

  it("remembers what made each value, for passes over it", () => {
    const graph = new GraphBuilder()
    const x = graph.input("x", ["n", 2])
    const y = graph.binary("Mul", x, graph.unary("Sigmoid", x))
    expect(y.op).toBe("Mul")
    expect(y.inputs[1].inputs[0]).toBe(x)
    expect(y.shape).toEqual(["n", 2])
  })

  it("refuses shapes that do not meet and names given twice", () => {
    expect(broadcast(["n", 1], [4])).toEqual(["n", 4])
    expect(() => broadcast(["n", 3], [4])).toThrow("do not fit")
    const graph = new GraphBuilder()
    const x = graph.input("x", ["n", 2])
    expect(() => graph.matMul(x, graph.constant([1, 2, 3], [3, 1]))).toThrow(RangeError)
    expect(() => graph.constant([1, 2], [3])).toThrow("do not fill")
    expect(() => graph.input("x", ["n", 1])).toThrow("already has")
  })
})
