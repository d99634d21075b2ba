// ONNX Runtime's session as its binding has it: a run that holds the thread anyway answers at once, without the
// promises and the round of the event loop that the public class puts around it.
import { createRequire } from "node:module"
import type { InferenceSession, OnnxValue, Tensor } from "onnxruntime-node"

/** A session of `onnxruntime-node/dist/binding` (1.30.0). */
interface BindingSession {
  readonly outputMetadata: ReadonlyArray<{ readonly name: string }>
  loadModel(
    buffer: ArrayBufferLike,
    at: number,
    length: number,
    options: InferenceSession.SessionOptions
  ): void
  run(
    feeds: Readonly<Record<string, OnnxValue>>,
    fetches: Readonly<Record<string, null>>
  ): Record<string, Tensor>
  dispose(): void
}

interface Native {
  readonly binding?: { readonly InferenceSession?: new () => BindingSession }
  readonly initOrt?: () => void
}

/** What a graph runs with: every output, no options. */
export interface NativeSession {
  /** Runs all outputs; throws what ONNX Runtime says. */
  readonly run: (feeds: Readonly<Record<string, OnnxValue>>) => Record<string, Tensor>
  readonly dispose: () => void
}

/** Opens a graph; throws where ONNX Runtime does. */
export const openNative = (graph: Uint8Array, options: InferenceSession.SessionOptions): NativeSession => {
  const { binding, initOrt }: Native = createRequire(import.meta.url)("onnxruntime-node/dist/binding.js")
  if (binding?.InferenceSession === undefined || initOrt === undefined) {
    throw new Error("this onnxruntime-node is not 1.30.0: its binding is not made as it was")
  }
  initOrt()
  const session = new binding.InferenceSession()
  session.loadModel(graph.buffer, graph.byteOffset, graph.byteLength, options)
  const fetches = Object.fromEntries(session.outputMetadata.map(({ name }) => [name, null]))
  return { run: (feeds) => session.run(feeds, fetches), dispose: () => session.dispose() }
}
