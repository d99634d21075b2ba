// A small typed builder of ONNX graphs: expressions that know their operator, inputs and shape.
import onnxProto from "onnx-proto"

const { onnx } = onnxProto

/** Operator set and file version written; ONNX Runtime has read both since 1.14. */
export const OPSET = 17
export const IR_VERSION = 8

/** A tensor's axes; a name stands for a length known only at run time (`n`: rows). */
export type Shape = ReadonlyArray<number | string>
export type ElementType = "float" | "int64" | "bool"

/** What an operator is told beside its inputs. */
export type Attributes = Readonly<Record<string, number | ReadonlyArray<number>>>

/**
 * One value of a graph. An expression is immutable and names what made it, so that a pass over the graph
 * (differentiation, for one) can walk from a result to its inputs and write further expressions.
 */
export interface Expression {
  readonly name: string
  /** ONNX operator, or where the value comes from. */
  readonly op: string
  readonly inputs: ReadonlyArray<Expression>
  readonly attributes: Attributes
  readonly shape: Shape
  readonly type: ElementType
  /** Set on constants only. */
  readonly data: Float32Array | BigInt64Array | undefined
}

const elementTypes = {
  float: onnx.TensorProto.DataType.FLOAT,
  int64: onnx.TensorProto.DataType.INT64,
  bool: onnx.TensorProto.DataType.BOOL
} as const

/** Shape of an element-wise operator's result (NumPy's rule). Throws where the axes cannot meet. */
export const broadcast = (left: Shape, right: Shape): Shape => {
  const rank = Math.max(left.length, right.length)
  return Array.from({ length: rank }, (_, axis) => {
    const a = left[axis - rank + left.length] ?? 1
    const b = right[axis - rank + right.length] ?? 1
    if (a === 1) return b
    if (b === 1 || a === b) return a
    throw new RangeError(`shapes [${left}] and [${right}] do not fit each other at axis ${axis}`)
  })
}

const sizeOf = (shape: Shape) => shape.reduce<number>((size, axis) => size * Number(axis), 1)

/** Builds one graph; expressions of one builder must not be given to another. */
export class GraphBuilder {
  readonly expressions: Array<Expression> = []
  private readonly taken = new Set<string>()

  private add(
    op: string,
    inputs: ReadonlyArray<Expression>,
    shape: Shape,
    more: Partial<Pick<Expression, "attributes" | "type" | "data" | "name">> = {}
  ): Expression {
    const name = more.name ?? `${op.toLowerCase()}_${this.expressions.length}`
    if (this.taken.has(name)) throw new RangeError(`the graph already has a value named ${name}`)
    this.taken.add(name)
    const expression: Expression = {
      name,
      op,
      inputs,
      attributes: more.attributes ?? {},
      shape,
      type: more.type ?? inputs[0]?.type ?? "float",
      data: more.data
    }
    this.expressions.push(expression)
    return expression
  }

  input(name: string, shape: Shape, type: ElementType = "float"): Expression {
    return this.add("Input", [], shape, { name, type })
  }

  /** A float constant, row-major. */
  constant(data: ArrayLike<number>, shape: ReadonlyArray<number>): Expression {
    if (data.length !== sizeOf(shape)) throw new RangeError(`${data.length} values do not fill [${shape}]`)
    return this.add("Constant", [], shape, { type: "float", data: Float32Array.from(data) })
  }

  /** An int64 constant of one axis: indices, axes, shapes. */
  integers(data: ReadonlyArray<number>): Expression {
    return this.add("Constant", [], [data.length], {
      type: "int64",
      data: BigInt64Array.from(data.map(BigInt))
    })
  }

  /** An element-wise operator of two operands: Add, Sub, Mul, Div, Min, Max. */
  binary(op: "Add" | "Sub" | "Mul" | "Div" | "Min" | "Max", left: Expression, right: Expression): Expression {
    return this.add(op, [left, right], broadcast(left.shape, right.shape))
  }

  /** An element-wise operator of one operand. */
  unary(
    op: "Abs" | "Exp" | "Log" | "Neg" | "Relu" | "Sign" | "Sigmoid" | "Sqrt" | "Tanh",
    operand: Expression
  ): Expression {
    return this.add(op, [operand], operand.shape)
  }

  isNaN(operand: Expression): Expression {
    return this.add("IsNaN", [operand], operand.shape, { type: "bool" })
  }

  equal(left: Expression, right: Expression): Expression {
    return this.add("Equal", [left, right], broadcast(left.shape, right.shape), { type: "bool" })
  }

  not(operand: Expression): Expression {
    return this.add("Not", [operand], operand.shape, { type: "bool" })
  }

  where(condition: Expression, yes: Expression, no: Expression): Expression {
    return this.add(
      "Where",
      [condition, yes, no],
      broadcast(condition.shape, broadcast(yes.shape, no.shape)),
      {
        type: yes.type
      }
    )
  }

  toFloat(operand: Expression): Expression {
    return this.add("Cast", [operand], operand.shape, {
      type: "float",
      attributes: { to: elementTypes.float }
    })
  }

  clip(operand: Expression, low: Expression, high: Expression): Expression {
    return this.add("Clip", [operand, low, high], operand.shape)
  }

  /** […, m] × [m, k]. */
  matMul(left: Expression, right: Expression): Expression {
    if (right.shape.length !== 2 || left.shape.at(-1) !== right.shape[0])
      throw new RangeError(`[${left.shape}] × [${right.shape}]`)
    return this.add("MatMul", [left, right], [...left.shape.slice(0, -1), right.shape[1]])
  }

  transpose(operand: Expression): Expression {
    return this.add("Transpose", [operand], [operand.shape[1], operand.shape[0]], {
      attributes: { perm: [1, 0] }
    })
  }

  concat(operands: ReadonlyArray<Expression>, axis: number): Expression {
    const length = operands.reduce((sum, operand) => sum + Number(operand.shape[axis]), 0)
    const shape = operands[0].shape.map((size, at) => (at === axis ? length : size))
    return operands.length === 1 ? operands[0] : this.add("Concat", operands, shape, { attributes: { axis } })
  }

  /** Rows of a table, or columns of a matrix, by position. */
  gather(table: Expression, indices: Expression, axis: number): Expression {
    const shape = [...table.shape.slice(0, axis), ...indices.shape, ...table.shape.slice(axis + 1)]
    return this.add("Gather", [table, indices], shape, { attributes: { axis }, type: table.type })
  }

  /** Sum or maximum over the last axis, which stays with length 1. */
  reduceLast(op: "ReduceSum" | "ReduceMax", operand: Expression): Expression {
    const axis = operand.shape.length - 1
    const shape = [...operand.shape.slice(0, axis), 1]
    return op === "ReduceSum"
      ? this.add(op, [operand, this.integers([axis])], shape, { attributes: { keepdims: 1 } })
      : this.add(op, [operand], shape, { attributes: { axes: [axis], keepdims: 1 } })
  }

  /** Maximum along one axis, which stays with length 1. */
  reduceMax(operand: Expression, axis: number): Expression {
    const shape = operand.shape.map((size, at) => (at === axis ? 1 : size))
    return this.add("ReduceMax", [operand], shape, { attributes: { axes: [axis], keepdims: 1 } })
  }

  /** Sum along some axes, which stay with length 1. */
  reduceSum(operand: Expression, axes: ReadonlyArray<number>): Expression {
    const shape = operand.shape.map((size, axis) => (axes.includes(axis) ? 1 : size))
    return this.add("ReduceSum", [operand, this.integers(axes)], shape, { attributes: { keepdims: 1 } })
  }

  /** The same values repeated along axes of length 1. */
  expand(operand: Expression, shape: ReadonlyArray<number>): Expression {
    return this.add("Expand", [operand, this.integers(shape)], broadcast(operand.shape, shape))
  }

  /** Positions `from` to before `to` of one axis. */
  slice(operand: Expression, from: number, to: number, axis: number): Expression {
    const shape = operand.shape.map((size, at) => (at === axis ? to - from : size))
    const bounds = [from, to, axis].map((at) => this.integers([at]))
    return this.add("Slice", [operand, ...bounds], shape)
  }

  /** Position of the largest value of each row: [n, k] → int64 [n]; the first of equals. */
  argMaxLast(operand: Expression): Expression {
    return this.add("ArgMax", [operand], [operand.shape[0]], {
      attributes: { axis: 1, keepdims: 0 },
      type: "int64"
    })
  }

  /** The same values in another shape; −1 stands for the length that is left over. */
  reshape(operand: Expression, to: ReadonlyArray<number>, shape: Shape): Expression {
    return this.add("Reshape", [operand, this.integers(to)], shape)
  }

  /** Gives a value the name under which the graph answers it. */
  output(name: string, value: Expression): Expression {
    return this.add("Identity", [value], value.shape, { name })
  }

  /** The model's bytes. Nothing of them depends on time or place: equal graphs give equal bytes. */
  serialize(name: string, outputs: ReadonlyArray<Expression>): Uint8Array {
    const live = reachable(outputs)
    const used = this.expressions.filter((expression) => live.has(expression))
    const constants = used.filter((expression) => expression.data !== undefined)
    const inputs = this.expressions.filter((expression) => expression.op === "Input")
    const model = onnx.ModelProto.create({
      irVersion: IR_VERSION,
      producerName: "groundstate",
      opsetImport: [{ domain: "", version: OPSET }],
      graph: {
        name,
        input: inputs.map(valueInfo),
        output: outputs.map(valueInfo),
        initializer: constants.map(tensor),
        node: used
          .filter((expression) => expression.op !== "Input" && expression.data === undefined)
          .map((expression) => ({
            name: expression.name,
            opType: expression.op,
            input: expression.inputs.map((input) => input.name),
            output: [expression.name],
            attribute: Object.entries(expression.attributes).map(attribute)
          }))
      }
    })
    return onnx.ModelProto.encode(model).finish()
  }
}

const reachable = (outputs: ReadonlyArray<Expression>): ReadonlySet<Expression> => {
  const seen = new Set<Expression>()
  const stack = [...outputs]
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (seen.has(next)) continue
    seen.add(next)
    stack.push(...next.inputs)
  }
  return seen
}

const valueInfo = (expression: Expression) => ({
  name: expression.name,
  type: {
    tensorType: {
      elemType: elementTypes[expression.type],
      shape: {
        dim: expression.shape.map((size) =>
          typeof size === "number" ? { dimValue: size } : { dimParam: size }
        )
      }
    }
  }
})

// Both array types are little-endian on every platform that ONNX Runtime's Node package supports.
const tensor = (expression: Expression) => {
  const data = expression.data as Float32Array | BigInt64Array
  return {
    name: expression.name,
    dims: expression.shape.map(Number),
    dataType: elementTypes[expression.type],
    rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  }
}

const attribute = ([name, value]: [string, number | ReadonlyArray<number>]) =>
  typeof value === "number"
    ? { name, type: onnx.AttributeProto.AttributeType.INT, i: value }
    : { name, type: onnx.AttributeProto.AttributeType.INTS, ints: [...value] }
