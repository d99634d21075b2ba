// What becomes of stored messages on every database: those answered long ago go, with their replies, and no others.
import { SqlClient } from "@effect/sql"
import { describe, expect, it } from "@effect/vitest"
import { Effect, type Layer } from "effect"
import { deleteAllAnswered, deleteAnswered, idAt } from "../../src/services/runtime/StoredMessages.ts"

const T0 = Date.UTC(2026, 5, 1)

/** `count` messages with a reply each, one a millisecond from `from` on. */
const store = (from: number, count: number, processed: boolean) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const truth = processed ? "TRUE" : "FALSE"
    for (let at = 0; at < count; at += 200) {
      const ids = Array.from({ length: Math.min(200, count - at) }, (_, i) => idAt(from + at + i))
      const messages = ids.map((id) => `(${id}, 'm${id}', 's', 't', 'e', 0, ${truth}, ${id})`).join(",")
      yield* sql.unsafe(
        `INSERT INTO cluster_messages (id, message_id, shard_id, entity_type, entity_id, kind, processed, request_id)
          VALUES ${messages}`
      )
      const replies = ids.map((id) => `(${id + 1n}, 0, ${id}, '{}')`).join(",")
      yield* sql.unsafe(`INSERT INTO cluster_replies (id, kind, request_id, payload) VALUES ${replies}`)
    }
  })

const left = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const count = (table: string) =>
    Effect.map(sql.unsafe<{ n: number | string }>(`SELECT COUNT(*) AS n FROM ${table}`), ([row]) =>
      Number(row.n)
    )
  return [yield* count("cluster_messages"), yield* count("cluster_replies")]
})

/** `layer` gives an empty database with the library's tables each time that it is built. */
export const storedMessagesSuite = (name: string, layer: Layer.Layer<SqlClient.SqlClient, unknown>) =>
  describe(`stored messages on ${name}`, () => {
    it.scopedLive("F32: go once they are answered and old, a thousand at a time, with their replies", () =>
      Effect.gen(function* () {
        yield* store(T0, 2_500, true)
        yield* store(T0 + 10_000, 5, false)
        yield* store(T0 + 20_000, 7, true)
        expect(yield* deleteAnswered(T0 + 10_000)).toBe(1_000)
        expect(yield* left).toEqual([1_512, 1_512])
        yield* deleteAllAnswered(T0 + 20_000)
        // Those not processed, and those that are too young.
        expect(yield* left).toEqual([12, 12])
        yield* deleteAllAnswered(T0 + 20_000)
        expect(yield* left).toEqual([12, 12])
        yield* deleteAllAnswered(T0 + 20_003)
        expect(yield* left).toEqual([9, 9])
      }).pipe(Effect.provide(layer))
    )
  })
