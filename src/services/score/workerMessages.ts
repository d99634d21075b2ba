// What a scoring worker is given, asked and answers. Rows and energies lie in memory that both sides share.

export interface WorkerGraph {
  readonly step: "deep" | "fast"
  readonly role: "score" | "explain"
  readonly bytes: Uint8Array
}

export interface WorkerStart {
  readonly graphs: ReadonlyArray<WorkerGraph>
  readonly width: number
  /** Rows that `rows` and `energies` have room for. */
  readonly capacity: number
  readonly rows: SharedArrayBuffer
  readonly energies: SharedArrayBuffer
  /** Rows to find the tiling with. */
  readonly probe: Float32Array
}

/** Score, or explain, the first `count` of the shared rows. */
export interface WorkerRequest {
  readonly id: number
  readonly role: "score" | "explain"
  readonly step: "deep" | "fast"
  readonly count: number
}

export interface WorkerExplanation {
  readonly energy: Float32Array
  readonly contributions: Float32Array
  readonly expected: Float32Array
  readonly prototype: Int32Array
}

/** `ready` comes once, before anything else; `refused` where a graph does not open. */
export type WorkerReply =
  | { readonly kind: "ready" }
  | { readonly kind: "refused"; readonly detail: string }
  | { readonly kind: "scored"; readonly id: number; readonly finite: boolean }
  | { readonly kind: "explained"; readonly id: number; readonly explanation: WorkerExplanation }
  | { readonly kind: "failed"; readonly id: number; readonly detail: string }
