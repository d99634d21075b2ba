import onnxProto from "onnx-proto"
import { beforeAll, describe, expect, it } from "vitest"
import { admit, admittedOperators, Inadmissible } from "../../../src/services/model/admit.ts"
import { GraphBuilder } from "../../../src/services/train/graph.ts"
import { type TrainedModel, trainDefaults, trainModel } from "../../../src/services/train/trainModel.ts"
import { smallRows } from "../../support/smallModel.ts"

const { onnx } = onnxProto
type Model = onnxProto.onnx.ModelProto

const number = { kind: "number", log: true } as const
let trained: TrainedModel
beforeAll(async () => {
  const inputs = [number, number, { kind: "category", log: false } as const, number, number]
  const table = { rows: smallRows(500, 5), count: 500, width: 5 }
  trained = await trainModel(table, inputs, {
    ...trainDefaults,
    autoencoderSteps: 10,
    scoreMatchingSteps: 10
  })
})

/** Why a changed copy of the trained score graph is refused. */
const refusal = (change: (model: Model) => void) => {
  const model = onnx.ModelProto.decode(trained.graphs[1].score)
  change(model)
  try {
    admit(onnx.ModelProto.encode(model).finish(), "score", 5)
  } catch (cause) {
    if (cause instanceof Inadmissible) return cause.reason
    throw cause
  }
  return "admitted"
}

const nodesOf = (model: Model) => model.graph?.node ?? []

describe("admission", () => {
  it("takes what training writes, for its own width only", () => {
    for (const { score, explain } of trained.graphs) {
      admit(score, "score", 5)
      admit(explain as Uint8Array, "explain", 5)
      expect(() => admit(score, "score", 6)).toThrow("where rows [n,6] is expected")
      expect(() => admit(score, "explain", 5)).toThrow("1 outputs where 4")
    }
    expect(refusal(() => {})).toBe("admitted")
  })

  it("refuses what loops, branches, draws at random or comes from elsewhere", () => {
    for (const op of [
      "Loop",
      "If",
      "Scan",
      "RandomNormal",
      "ConstantOfShape",
      "Expand",
      "Tile",
      "Range",
      "NonZero"
    ]) {
      expect(admittedOperators.has(op)).toBe(false)
      expect(
        refusal((model) => {
          nodesOf(model)[0].opType = op
        }),
        op
      ).toBe("unknown-operator")
    }
    expect(
      refusal((model) => {
        nodesOf(model)[0].domain = "com.microsoft"
      })
    ).toBe("unknown-operator")
    expect(
      refusal((model) => {
        model.opsetImport?.push({ domain: "ai.onnx.ml", version: 3 })
      })
    ).toBe("unknown-operator")
    expect(
      refusal((model) => {
        nodesOf(model)[0].attribute = [{ name: "body", type: onnx.AttributeProto.AttributeType.GRAPH, g: {} }]
      })
    ).toBe("unknown-operator")
  })

  it("refuses tensors outside the file, of another size than they say, or of unknown types", () => {
    const first = (model: Model) => (model.graph?.initializer ?? [])[0]
    expect(
      refusal((model) => {
        first(model).externalData = [{ key: "location", value: "/etc/passwd" }]
      })
    ).toBe("will-not-load")
    expect(
      refusal((model) => {
        first(model).dataLocation = onnx.TensorProto.DataLocation.EXTERNAL
      })
    ).toBe("will-not-load")
    expect(
      refusal((model) => {
        first(model).dims = [1 << 20, 1 << 20]
      })
    ).toBe("wrong-shape")
    expect(
      refusal((model) => {
        first(model).dataType = onnx.TensorProto.DataType.STRING
      })
    ).toBe("will-not-load")
  })

  it("refuses values that grow from row to memory", () => {
    const graph = new GraphBuilder()
    let wide = graph.input("rows", ["n", 5])
    for (let doubling = 0; doubling < 30; doubling++) wide = graph.concat([wide, wide], 1)
    const sum = graph.reduceLast("ReduceMax", wide)
    const bytes = graph.serialize("bomb", [graph.output("energy", graph.reshape(sum, [-1], ["n"]))])
    expect(() => admit(bytes, "score", 5)).toThrow("elements a row")
  })

  it("refuses other names, an unmade input, a value made twice, and outputs of another shape", () => {
    expect(
      refusal((model) => {
        ;(model.graph?.output ?? [])[0].name = "score"
      })
    ).toBe("wrong-shape")
    expect(
      refusal((model) => {
        nodesOf(model)[0].input = ["nowhere"]
      })
    ).toBe("will-not-load")
    expect(
      refusal((model) => {
        nodesOf(model)[1].output = [...(nodesOf(model)[0].output ?? [])]
      })
    ).toBe("will-not-load")
    const graph = new GraphBuilder()
    const rows = graph.input("rows", ["n", 5])
    const bytes = graph.serialize("wide", [graph.output("energy", rows)])
    expect(() => admit(bytes, "score", 5)).toThrow("where energy [n] is expected")
  })

  it("refuses bytes that are no model, and never fails otherwise", () => {
    expect(() => admit(new Uint8Array([255, 255, 255]), "score", 5)).toThrow(Inadmissible)
    expect(() => admit(new Uint8Array(0), "score", 5)).toThrow("no graph")
    // Every byte of the first kilobyte turned over: refused or admitted, nothing else is thrown.
    for (let at = 0; at < 1_000; at++) {
      const bytes = Uint8Array.from(trained.graphs[1].score)
      bytes[at] ^= 0xff
      try {
        admit(bytes, "score", 5)
      } catch (cause) {
        expect(cause, `byte ${at}`).toBeInstanceOf(Inadmissible)
      }
    }
  })
})
