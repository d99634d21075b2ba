// Where those who ask for the verdict of one event meet the cells of this runner, without a message between them.
import { Context, Layer } from "effect"
import type { Verdict } from "../../schema/verdict/Verdict.ts"

/** Calls back once, at once if the verdict is there, else when it comes. The answer stops waiting. */
export type AwaitVerdict = (askId: string, take: (verdict: Verdict) => void) => () => void

const makeAsks = () => {
  const cells = new Map<string, AwaitVerdict>()
  const keyOf = (stream: string, partition: number) => `${stream}/${partition}`
  return {
    /** A cell lives here now. The answer says that it no longer does. */
    open: (stream: string, partition: number, wait: AwaitVerdict): (() => void) => {
      const key = keyOf(stream, partition)
      cells.set(key, wait)
      return () => {
        if (cells.get(key) === wait) cells.delete(key)
      }
    },
    /** The cell, where it lives on this runner. */
    of: (stream: string, partition: number): AwaitVerdict | undefined => cells.get(keyOf(stream, partition))
  }
}

export class Asks extends Context.Tag("groundstate/services/observe/Asks")<
  Asks,
  ReturnType<typeof makeAsks>
>() {
  static readonly layer = Layer.sync(Asks, makeAsks)
}
