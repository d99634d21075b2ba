import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Reactivity from "@effect/experimental/Reactivity"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { makeSqliteThread } from "../../../src/services/runtime/SqliteThread.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "groundstate-sqlite-"))),
  (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
)

const open = (filename: string) =>
  Effect.provide(makeSqliteThread({ filename, pragmas: ["busy_timeout = 1000"] }), Reactivity.layer)

const opened = Effect.gen(function* () {
  const filename = join(yield* folder, "some.db")
  const thread = yield* open(filename)
  yield* thread.sql`CREATE TABLE item (id INTEGER PRIMARY KEY, text TEXT, bytes BLOB)`
  return { ...thread, filename }
})

const texts = (sql: Effect.Effect.Success<typeof opened>["sql"]) =>
  Effect.map(sql<{ text: string }>`SELECT text FROM item ORDER BY id`, (rows) => rows.map(({ text }) => text))

describe("SQLite on a thread", () => {
  it.scopedLive("gives back what was written, bytes and nothing included", () =>
    Effect.gen(function* () {
      const { sql } = yield* opened
      // A view of a larger piece of memory, at an odd place in it.
      const bytes = new Uint8Array(64).map((_, i) => i).subarray(3, 9)
      yield* sql`INSERT INTO item (text, bytes) VALUES (${"a"}, ${bytes})`
      yield* sql`INSERT INTO item (bytes) VALUES (${bytes})`
      yield* sql`INSERT INTO item (text) VALUES (${null})`
      const rows = yield* sql<{
        text: string | null
        bytes: ArrayBuffer | null
      }>`SELECT text, bytes FROM item`
      expect(
        rows.map(({ text, bytes: held }) => [text, held === null ? null : [...new Uint8Array(held)]])
      ).toEqual([
        ["a", [3, 4, 5, 6, 7, 8]],
        [null, [3, 4, 5, 6, 7, 8]],
        [null, null]
      ])
      expect(bytes.length).toBe(6)
      expect(yield* sql`SELECT id, text FROM item WHERE id = ${1}`.values).toEqual([[1, "a"]])
    })
  )

  it.scopedLive("lets nobody into another's transaction", () =>
    Effect.gen(function* () {
      const { atomically, sql } = yield* opened
      const inside = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const first = yield* sql
        .withTransaction(
          Effect.gen(function* () {
            yield* sql`INSERT INTO item (text) VALUES ('undone')`
            yield* Deferred.succeed(inside, undefined)
            yield* Deferred.await(goOn)
            return yield* Effect.fail("not after all")
          })
        )
        .pipe(Effect.exit, Effect.fork)
      yield* Deferred.await(inside)
      const others = yield* Effect.all(
        [
          sql`INSERT INTO item (text) VALUES ('one statement')`,
          atomically([{ text: "INSERT INTO item (text) VALUES (?)", values: ["a whole transaction"] }])
        ],
        { concurrency: "unbounded" }
      ).pipe(Effect.fork)
      yield* Effect.yieldNow()
      yield* Deferred.succeed(goOn, undefined)
      expect(yield* Fiber.join(first)).toEqual(Exit.fail("not after all"))
      yield* Fiber.join(others)
      expect(yield* texts(sql)).toEqual(["one statement", "a whole transaction"])
    })
  )

  it.scopedLive("does all statements of a transaction said at once, or none, and says what was wrong", () =>
    Effect.gen(function* () {
      const { atomically, sql } = yield* opened
      const add = (id: number, text: string) => ({
        text: "INSERT INTO item (id, text) VALUES (?, ?) RETURNING id",
        values: [id, text]
      })
      expect(yield* atomically([add(1, "a"), add(2, "b")])).toEqual([[{ id: 1 }], [{ id: 2 }]])
      const refused = yield* Effect.flip(atomically([add(3, "c"), add(1, "again")]))
      expect(refused._tag).toBe("SqlError")
      expect(refused.message).toContain("UNIQUE")
      yield* atomically([add(4, "d")])
      expect(yield* texts(sql)).toEqual(["a", "b", "d"])
    })
  )

  it.scopedLive("fails every statement on a file that is no database", () =>
    Effect.gen(function* () {
      const filename = join(yield* folder, "no.db")
      writeFileSync(filename, "This is no database at all. ".repeat(100))
      const { sql } = yield* open(filename)
      for (let i = 0; i < 2; i++) {
        const error = yield* Effect.flip(sql`SELECT 1`)
        expect(error.message).toContain("not a database")
      }
    })
  )

  it.scopedLive("goes on with a new thread where one has ended, and fails what that one left open", () =>
    Effect.gen(function* () {
      const { filename } = yield* opened
      const { sql, worker } = yield* Effect.map(open(filename), (it) => ({ sql: it.sql, worker: it.worker }))
      yield* sql`INSERT INTO item (text) VALUES ('kept')`
      const torn = yield* Effect.exit(
        sql.withTransaction(
          Effect.gen(function* () {
            yield* sql`INSERT INTO item (text) VALUES ('lost')`
            yield* Effect.promise(() => worker().terminate())
            yield* sql`INSERT INTO item (text) VALUES ('lost too')`
          })
        )
      )
      expect(Exit.isFailure(torn)).toBe(true)
      expect(yield* texts(sql)).toEqual(["kept"])
    })
  )
})
