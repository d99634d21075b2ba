// Runs graphs during training: one thread, the same session options as in serving.
import * as ort from "onnxruntime-node"

/** Rows given to one run: large enough to amortise the call, small enough for the second-level cache. */
export const RUN_ROWS = 1024

/** Opens a graph held in memory. One thread and a fixed optimisation level: the same bits in every run. */
export const openSession = (graph: Uint8Array): Promise<ort.InferenceSession> =>
  ort.InferenceSession.create(graph, {
    executionProviders: ["cpu"],
    executionMode: "sequential",
    graphOptimizationLevel: "all",
    intraOpNumThreads: 1,
    interOpNumThreads: 1
  })

/** Rows of a table, row-major; `count` × `width`. */
export interface Table {
  readonly rows: Float32Array
  readonly count: number
  readonly width: number
}

/** A table of zeros. */
export const makeTable = (count: number, width: number): Table => ({
  rows: new Float32Array(count * width),
  count,
  width
})

/** Copies the named rows into a table of their own. */
export const pick = (table: Table, indices: Int32Array): Table => {
  const out = makeTable(indices.length, table.width)
  for (let at = 0; at < indices.length; at++) {
    const from = indices[at] * table.width
    out.rows.set(table.rows.subarray(from, from + table.width), at * table.width)
  }
  return out
}

/**
 * Runs a graph over a table in slices; `take` gets each slice's outputs, whose arrays are its own. Stops
 * with the signal's reason when that is aborted.
 */
export const runSlices = async (
  session: ort.InferenceSession,
  input: string,
  table: Table,
  take: (outputs: ort.InferenceSession.OnnxValueMapType, from: number, count: number) => void,
  options: {
    readonly feeds?: Readonly<Record<string, ort.Tensor>>
    readonly signal?: AbortSignal | undefined
    readonly progress?: ((done: number, total: number) => void) | undefined
  } = {}
): Promise<void> => {
  for (let from = 0; from < table.count; from += RUN_ROWS) {
    options.signal?.throwIfAborted()
    const count = Math.min(RUN_ROWS, table.count - from)
    const slice = table.rows.subarray(from * table.width, (from + count) * table.width)
    const tensor = new ort.Tensor("float32", slice, [count, table.width])
    take(await session.run({ ...options.feeds, [input]: tensor }), from, count)
    options.progress?.(from + count, table.count)
  }
}

/** Runs a graph with one float output of `width` values a row over a whole table. */
export const runTable = async (
  session: ort.InferenceSession,
  table: Table,
  output: string,
  width: number,
  signal?: AbortSignal
): Promise<Table> => {
  const result = makeTable(table.count, width)
  await runSlices(
    session,
    "rows",
    table,
    (outputs, from) => result.rows.set(outputs[output].data as Float32Array, from * width),
    { signal }
  )
  return result
}

/** Lets other work on this thread have its turn. */
export const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
