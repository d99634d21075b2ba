// Tokens on the command line: made, listed, rotated and revoked; shown to the runner that is asked, and to nobody else.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect } from "vitest"
import { readTokenFile } from "../../../src/services/runtime/access/TokenFile.ts"
import { findToken, keepTokens } from "../../../src/services/runtime/access/tokens.ts"
import { runWords, serveApi } from "./commandHarness.ts"

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "groundstate-tokens-"))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const tokens = (file: string, ...words: ReadonlyArray<string>) =>
  runWords(["tokens", words[0], "--file", join(folder, file), ...words.slice(1)])
const kept = (file: string) => Effect.orDie(readTokenFile(join(folder, file)))
/** Whose token it is, by what the file keeps. */
const owner = (file: string, token: string) =>
  Effect.map(kept(file), (records) => findToken(keepTokens(records), token.trim())?.name)

describe("tokens", () => {
  it.live("are shown once, kept by digest, in a file for its owner alone", () =>
    Effect.gen(function* () {
      const made = yield* tokens(
        "one.json",
        "create",
        "--role",
        "operator,viewer",
        "--name",
        "Ada",
        "--expires",
        "1h"
      )
      expect(made.code).toBe(0)
      expect(made.out).toMatch(/^gst_[0-9a-f]{16}_[\w-]{43}\n$/)
      const file = join(folder, "one.json")
      expect(statSync(file).mode & 0o777).toBe(0o600)
      expect(existsSync(`${file}.new`)).toBe(false)
      const secret = made.out.trim().slice(21)
      expect(readFileSync(file, "utf8")).not.toContain(secret)
      expect(made.err).not.toContain(secret)
      const [record] = yield* kept("one.json")
      expect(record).toMatchObject({ name: "Ada", roles: ["viewer", "operator"], regions: ["*"] })
      expect((record.expiresAt?.getTime() ?? 0) - record.createdAt.getTime()).toBe(3_600_000)
      expect(yield* owner("one.json", made.out)).toBe("Ada")
      expect(
        yield* owner(
          "one.json",
          made.out.trim().replace(/.$/, (last) => (last === "A" ? "B" : "A"))
        )
      ).toBe(undefined)
      const listed = yield* tokens("one.json", "list")
      expect(listed.out).toMatch(/Ada +viewer,operator +\*/)
      const json = yield* tokens("one.json", "list", "-o", "json")
      expect(json.out).not.toContain("digest")
    })
  )

  it.live("lose their hold when they are revoked, and are named by id where a name is not enough", () =>
    Effect.gen(function* () {
      const make = tokens("two.json", "create", "--role", "producer", "--name", "gateway")
      const first = yield* make
      const second = yield* make
      const unclear = yield* tokens("two.json", "revoke", "gateway")
      expect([unclear.code, unclear.err]).toEqual([1, expect.stringContaining("2 tokens are called gateway")])
      expect((yield* tokens("two.json", "revoke", first.out.slice(4, 20))).code).toBe(0)
      expect(yield* owner("two.json", first.out)).toBe(undefined)
      expect(yield* owner("two.json", second.out)).toBe("gateway")
      expect((yield* tokens("two.json", "revoke", "gateway")).code).toBe(0)
      expect((yield* tokens("two.json", "revoke", "gateway")).err).toContain("There is no token gateway.")
    })
  )

  it.live("are rotated: the new one holds as long, the old one ends after the grace", () =>
    Effect.gen(function* () {
      const old = yield* tokens(
        "three.json",
        "create",
        "--role",
        "admin",
        "--name",
        "root",
        "--expires",
        "30d"
      )
      const fresh = yield* tokens("three.json", "rotate", "root", "--grace", "1h")
      expect(yield* owner("three.json", fresh.out)).toBe("root")
      const [before, after] = yield* kept("three.json")
      expect(before.id).toBe(old.out.slice(4, 20))
      expect((before.expiresAt?.getTime() ?? 0) - after.createdAt.getTime()).toBe(3_600_000)
      expect((after.expiresAt?.getTime() ?? 0) - after.createdAt.getTime()).toBe(30 * 86_400_000)
      expect(after.roles).toEqual(["admin"])
    })
  )

  it.live("are changed by one command at a time", () =>
    Effect.gen(function* () {
      writeFileSync(join(folder, "four.json.new"), "")
      const { code, err } = yield* tokens("four.json", "create", "--role", "viewer", "--name", "x")
      expect([code, err]).toEqual([78, expect.stringContaining("another command is changing it")])
      expect(existsSync(join(folder, "four.json"))).toBe(false)
    })
  )

  it.live("need roles and names that are some", () =>
    Effect.gen(function* () {
      const role = yield* tokens("five.json", "create", "--role", "operater", "--name", "x")
      expect([role.code, role.err]).toEqual([2, expect.stringContaining("did you mean operator?")])
      const name = yield* tokens("five.json", "create", "--role", "viewer", "--name", "a\nb")
      expect(name.code).toBe(2)
      const nowhere = yield* runWords(["tokens", "list", "--config", join(folder, "none.yaml")])
      expect(nowhere.code).toBe(78)
    })
  )
})

describe("a runner's configuration", () => {
  const check = (text: string, variables: Readonly<Record<string, string>> = {}) => {
    writeFileSync(join(folder, "groundstate.yaml"), text)
    return runWords(["run", "--config", join(folder, "groundstate.yaml")], { variables })
  }

  it.live("is refused where others could reach it and nothing says who may ask", () =>
    Effect.gen(function* () {
      for (const host of ["0.0.0.0", "::", "10.0.0.7", "runner.example"]) {
        const { code, err } = yield* check(`http: { host: "${host}" }\nstreams: []\n`)
        expect([code, err]).toEqual([78, expect.stringContaining("groundstate tokens create")])
        expect(err).toContain("http.host")
      }
      const variable = yield* check("streams: []\n", { GROUNDSTATE_HTTP_HOST: "0.0.0.0" })
      expect([variable.code, variable.err]).toEqual([78, expect.stringContaining("GROUNDSTATE_HTTP_HOST")])
    })
  )

  it.live("is refused where its tokens or keys can't be read", () =>
    Effect.gen(function* () {
      const missing = yield* check("access: { tokensFile: gone.json }\nstreams: []\n")
      expect([missing.code, missing.err]).toEqual([78, expect.stringContaining("access.tokensFile")])
      writeFileSync(join(folder, "bad.json"), '{"tokens":[{"id":"1"}]}')
      const bad = yield* check("access: { tokensFile: bad.json }\nstreams: []\n")
      expect([bad.code, bad.err]).toEqual([78, expect.stringContaining("it holds no tokens (tokens.0.id")])
      const keys = yield* check("access: { jwt: { issuer: i, keysFile: bad.json } }\nstreams: []\n")
      expect([keys.code, keys.err]).toEqual([78, expect.stringContaining("access.jwt.keysFile")])
      const both = yield* check("access: { tokensFile: bad.json, open: true }\nstreams: []\n")
      expect([both.code, both.err]).toEqual([78, expect.stringContaining("access.open")])
    })
  )
})

describe("a command that asks a runner", () => {
  const asked = (words: ReadonlyArray<string>, variables: Readonly<Record<string, string>>) =>
    Effect.scoped(
      Effect.gen(function* () {
        const api = yield* serveApi(() => ({ body: { items: [] } }))
        const outcome = yield* runWords(["regions", "get", "--server", api.url, ...words], { variables })
        return { outcome, authorization: api.requests.map(({ headers }) => headers.authorization) }
      })
    )

  it.live("shows the token of the flag, of the variable, or of the file, in this order", () =>
    Effect.gen(function* () {
      const file = join(folder, "secret")
      writeFileSync(file, "from-file\n")
      const named = { GROUNDSTATE_TOKEN_FILE: file }
      expect((yield* asked([], {})).authorization).toEqual([undefined])
      expect((yield* asked([], named)).authorization).toEqual(["Bearer from-file"])
      expect((yield* asked([], { ...named, GROUNDSTATE_TOKEN: "from-variable" })).authorization).toEqual([
        "Bearer from-variable"
      ])
      expect((yield* asked(["--token", "from-flag"], named)).authorization).toEqual(["Bearer from-flag"])
    })
  )

  it.live("tells what is wrong with a token without telling the token", () =>
    Effect.gen(function* () {
      const bad = yield* asked(["--token", "two words"], {})
      expect([bad.outcome.code, bad.authorization]).toEqual([2, []])
      expect(bad.outcome.err).not.toContain("two words")
      const gone = yield* asked([], { GROUNDSTATE_TOKEN_FILE: join(folder, "gone") })
      expect([gone.outcome.code, gone.outcome.err]).toEqual([2, expect.stringContaining("ENOENT")])
    })
  )

  it.live("says what to do where it is denied", () =>
    Effect.scoped(
      Effect.gen(function* () {
        for (const [status, advice] of [
          [401, "GROUNDSTATE_TOKEN_FILE"],
          [403, "with that role"]
        ] as const) {
          const api = yield* serveApi(() => ({ status, body: { title: "No", detail: "Because." } }))
          const { code, err } = yield* runWords(["regions", "get", "--server", api.url])
          expect([code, err]).toEqual([1, expect.stringContaining(advice)])
        }
      })
    )
  )
})
