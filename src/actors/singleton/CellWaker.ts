// Wakes a cell where its shard lives, and again whenever it has gone: cells start by themselves.
import { Singleton } from "@effect/cluster"
import { Duration, Effect, Layer } from "effect"
import { CellProtocol } from "../../schema/protocol/CellProtocol.ts"
import { Cells } from "../../services/runtime/Cells.ts"
import { Streams } from "../../services/runtime/Streams.ts"

/** How often a cell is looked after; one local call of about 100 µs. */
const EVERY = Duration.seconds(2)

/**
 * One singleton per partition, named by the cell's id so that it sits on the cell's own shard. It never
 * fails: a cell that does not answer is asked again.
 */
export const layer = Layer.unwrapEffect(
  Effect.gen(function* () {
    const streams = yield* Streams
    const cells = yield* Cells
    const ids = streams.all.flatMap((served) =>
      Array.from({ length: served.partitions }, (_, partition) => cells.idOf(served.plan.stream, partition))
    )
    const wakers = ids.map((id) =>
      Singleton.make(
        id,
        Effect.gen(function* () {
          const cellOf = yield* CellProtocol.client
          yield* cellOf(id)
            .Inspect()
            .pipe(
              Effect.timeout("10 seconds"),
              Effect.ignore,
              Effect.zipRight(Effect.sleep(EVERY)),
              Effect.forever
            )
        })
      )
    )
    return wakers.length === 0 ? Layer.empty : Layer.mergeAll(...(wakers as [(typeof wakers)[0]]))
  })
)
