// Messages that the cluster library stores are never deleted by it: here they go, in batches, once they are answered.
import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/** Rows of one transaction: on SQLite it holds the event loop for a few milliseconds. */
const BATCH = 1_000
/** The library's ids hold the time in their upper bits, from 2025 on. */
const ID_EPOCH = Date.UTC(2025, 0, 1)
const TIME_SHIFT = 22n

/** The least id that a message sent at this time, epoch ms, may have. */
export const idAt = (millis: number): bigint =>
  BigInt(Math.max(0, Math.floor(millis) - ID_EPOCH)) << TIME_SHIFT

/**
 * Deletes a batch of processed messages sent before `millis`, with their replies; answers how many there were. A
 * primary key is forgotten with its message, so `millis` says for how long a message sent again is known.
 */
export const deleteAnswered = (millis: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    return yield* sql.withTransaction(
      Effect.gen(function* () {
        // As text: a JavaScript number does not hold such an id.
        const rows = yield* sql<{ id: string }>`SELECT CAST(id AS TEXT) AS id FROM cluster_messages
          WHERE processed = TRUE AND id < ${sql.literal(String(idAt(millis)))} ORDER BY cluster_messages.id
          LIMIT ${BATCH}`
        if (rows.length === 0) return 0
        const ids = sql.literal(rows.map(({ id }) => String(BigInt(id))).join(","))
        yield* sql`DELETE FROM cluster_replies WHERE request_id IN (${ids})`
        yield* sql`DELETE FROM cluster_messages WHERE id IN (${ids})`
        return rows.length
      })
    )
  })

/** Batch after batch until no more are left, with a turn for others in between. */
export const deleteAllAnswered = (millis: number) =>
  Effect.iterate(BATCH, {
    while: (last) => last === BATCH,
    body: () => Effect.zipLeft(deleteAnswered(millis), Effect.sleep("10 millis"))
  })
