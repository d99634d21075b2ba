// Makes the folder that a runner keeps its data in, before anything opens a file there.
import { mkdir } from "node:fs/promises"
import { Effect, Layer } from "effect"
import { StorageUnavailable } from "../schema/error/StorageError.ts"

export const makeFolder = (folder: string): Layer.Layer<never, StorageUnavailable> =>
  Layer.effectDiscard(
    Effect.tryPromise({
      try: () => mkdir(folder, { recursive: true }),
      catch: (cause) =>
        new StorageUnavailable({
          operation: "make its folder",
          detail: `${folder}: ${cause instanceof Error ? cause.message : String(cause)}`
        })
    })
  )
