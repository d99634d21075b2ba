// One opened graph: runs rows so that a row's answer has the same bits in any company.
import * as ort from "onnxruntime-node"
import { type NativeSession, openNative } from "./nativeSession.ts"

/** Rows given to one run: the products of a run then stay in the second-level cache. */
export const RUN_ROWS = 1024
/** Rows explained by one run: each is compared with every prototype column by column, which then stays in that cache too. */
const EXPLAIN_ROWS = 4

/**
 * How rows must be given to a graph for equal bits: in any number, in multiples of 16 (kernels then have no
 * odd tail), or one by one. Found out when the graph is opened, on the machine and build that will run it.
 */
export type Tiling = "any" | "sixteens" | "single"

/** Sizes and places that the probe compares with a full run. */
const PROBE_SIZES = [1, 2, 3, 7, 16, 64, 256]
const PROBE_PLACES = [0, 1, 5, 16, 700]
const SIXTEEN = 16

export interface Explained {
  readonly energy: Float32Array
  readonly contributions: Float32Array
  readonly expected: Float32Array
  readonly prototype: Int32Array
}

/** Options of every session: fixed, so that a replay on the same build gives the same bits. */
export const sessionOptions: ort.InferenceSession.SessionOptions = {
  executionProviders: ["cpu"],
  executionMode: "sequential",
  graphOptimizationLevel: "all",
  intraOpNumThreads: 1,
  interOpNumThreads: 1
}

export class GraphSession {
  readonly width: number
  tiling: Tiling = "any"
  private readonly session: NativeSession
  private readonly padding: Float32Array

  private constructor(session: NativeSession, width: number) {
    this.session = session
    this.width = width
    this.padding = new Float32Array(RUN_ROWS * width)
  }

  /** Opens a graph; throws where ONNX Runtime does. With `probe` rows, finds the tiling that keeps bits. */
  static open(graph: Uint8Array, width: number, probe?: Float32Array): GraphSession {
    const opened = new GraphSession(openNative(graph, sessionOptions), width)
    if (probe !== undefined) opened.tiling = opened.findTiling(probe)
    return opened
  }

  /** rows: count × width. Writes `count` energies; says whether all of them are finite. */
  score(rows: Float32Array, count: number, energies: Float32Array): boolean {
    const step = this.tiling === "single" ? 1 : RUN_ROWS
    let finite = true
    for (let from = 0; from < count; from += step) {
      const size = Math.min(step, count - from)
      const answer = this.runPadded(rows, from, size)
      for (let row = 0; row < size; row++) {
        const energy = answer[row]
        energies[from + row] = energy
        // An infinity minus itself is NaN, as NaN is: one comparison finds both.
        if (energy - energy !== 0) finite = false
      }
    }
    return finite
  }

  /** rows: count × width. Energies, count × width contributions and expected values, prototypes. */
  explain(rows: Float32Array, count: number): Explained {
    const { width } = this
    const out: Explained = {
      energy: new Float32Array(count),
      contributions: new Float32Array(count * width),
      expected: new Float32Array(count * width),
      prototype: new Int32Array(count)
    }
    for (let from = 0; from < count; from += EXPLAIN_ROWS) {
      const size = Math.min(EXPLAIN_ROWS, count - from)
      const answer = this.session.run({ rows: this.tensor(rows, from, size) })
      out.energy.set(answer["energy"].data as Float32Array, from)
      out.contributions.set(answer["contributions"].data as Float32Array, from * width)
      out.expected.set(answer["expected"].data as Float32Array, from * width)
      const prototype = answer["prototype"].data as BigInt64Array
      for (let row = 0; row < size; row++) out.prototype[from + row] = Number(prototype[row])
    }
    return out
  }

  release(): void {
    this.session.dispose()
  }

  private tensor(rows: Float32Array, from: number, size: number): ort.Tensor {
    const { width } = this
    return new ort.Tensor("float32", rows.subarray(from * width, (from + size) * width), [size, width])
  }

  private runPadded(rows: Float32Array, from: number, size: number): Float32Array {
    if (this.tiling !== "sixteens" || size % SIXTEEN === 0) {
      return this.session.run({ rows: this.tensor(rows, from, size) })["energy"].data as Float32Array
    }
    const { width, padding } = this
    const padded = Math.ceil(size / SIXTEEN) * SIXTEEN
    padding.set(rows.subarray(from * width, (from + size) * width))
    padding.fill(0, size * width, padded * width)
    return this.session.run({ rows: this.tensor(padding, 0, padded) })["energy"].data as Float32Array
  }

  private findTiling(probe: Float32Array): Tiling {
    for (const tiling of ["any", "sixteens"] as const) {
      this.tiling = tiling
      if (this.keepsBits(probe)) return tiling
    }
    return "single"
  }

  private keepsBits(probe: Float32Array): boolean {
    const { width } = this
    const whole = new Float32Array(RUN_ROWS)
    const part = new Float32Array(RUN_ROWS)
    this.score(probe, RUN_ROWS, whole)
    for (const size of PROBE_SIZES) {
      for (const place of PROBE_PLACES) {
        this.score(probe.subarray(place * width, (place + size) * width), size, part)
        for (let row = 0; row < size; row++) if (!Object.is(part[row], whole[place + row])) return false
      }
    }
    return true
  }
}

/** Rows to probe with: the golden rows' values mixed and stretched, the same ones each time. */
export const probeRows = (
  golden: ReadonlyArray<ReadonlyArray<number | null>>,
  width: number
): Float32Array => {
  const rows = new Float32Array(RUN_ROWS * width)
  let state = 1
  const draw = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 4294967296
  }
  for (let at = 0; at < rows.length; at++) {
    const row = golden.length === 0 ? undefined : golden[Math.floor(draw() * golden.length)]
    const value = row?.[at % width] ?? (draw() < 0.5 ? Number.NaN : 0)
    rows[at] = draw() < 0.5 ? value : value * (0.5 + draw()) + draw() - 0.5
  }
  return rows
}
