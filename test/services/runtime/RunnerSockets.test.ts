// Runners of a region know each other by certificate: strangers end at the handshake, on real sockets.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect as connectPlain } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect } from "node:tls"
import { it } from "@effect/vitest"
import { Deferred, Effect, Exit, type Scope } from "effect"
import { afterAll, beforeAll, describe, expect } from "vitest"
import {
  makeAuthority,
  makeCertificate,
  type Pair
} from "../../../src/services/runtime/access/certificates.ts"
import { followIdentity } from "../../../src/services/runtime/access/liveIdentity.ts"
import {
  makeClient,
  makeServer,
  type RunnerIdentity,
  runnerName
} from "../../../src/services/runtime/RunnerSockets.ts"

const now = Date.now()
const made = { now, days: 1 }
const region = "North 1"

let folder: string
let identity: RunnerIdentity
let stranger: RunnerIdentity
let otherRegion: RunnerIdentity
let expired: RunnerIdentity
let renewed: Pair
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "groundstate-sockets-"))
  const authority = makeAuthority("trial", made)
  const evil = makeAuthority("trial", made)
  const write = (name: string, ca: Pair, pair: Pair): RunnerIdentity => {
    const files = {
      certificateFile: join(folder, `${name}.pem`),
      keyFile: join(folder, `${name}-key.pem`),
      authorityFile: join(folder, `${name}-ca.pem`)
    }
    writeFileSync(files.certificateFile, pair.certificate)
    writeFileSync(files.keyFile, pair.key)
    writeFileSync(files.authorityFile, ca.certificate)
    return { ...files, region }
  }
  const names = [runnerName(region)]
  identity = write("runner", authority, makeCertificate(authority, "runner-1", names, made))
  renewed = makeCertificate(authority, "runner-1-renewed", names, made)
  // Its client trusts the right authority, so that it is the server that refuses.
  stranger = write("stranger", authority, makeCertificate(evil, "runner-1", names, made))
  otherRegion = write("other", authority, makeCertificate(authority, "runner-1", [runnerName("south")], made))
  expired = write(
    "expired",
    authority,
    makeCertificate(authority, "runner-1", names, { now: now - 3 * 86_400_000, days: 1 })
  )
}, 60_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A server that answers every piece with the same piece; tells what it was sent. */
const echo = Effect.gen(function* () {
  const got: Array<string> = []
  const server = yield* makeServer(identity, { host: "127.0.0.1", port: 0 })
  yield* Effect.forkScoped(
    server.run((socket) =>
      Effect.scoped(
        Effect.gen(function* () {
          const write = yield* socket.writer
          yield* socket.run((piece) => {
            got.push(Buffer.from(piece).toString())
            return write(piece)
          })
        })
      )
    )
  )
  const port = server.address._tag === "TcpAddress" ? server.address.port : 0
  return { got, port }
})

/** What comes back for `hello`, as a runner of that identity; fails where the connection does. */
const say = (port: number, as: RunnerIdentity): Effect.Effect<string, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const live = yield* followIdentity("test", as)
    const socket = yield* makeClient(identity, live, { host: "127.0.0.1", port })
    const answer = yield* Deferred.make<string, unknown>()
    const write = yield* socket.writer
    yield* socket
      .run((piece) => Deferred.succeed(answer, Buffer.from(piece).toString()), {
        onOpen: Effect.void
      })
      .pipe(
        Effect.zipRight(Effect.fail("ended")),
        Effect.catchAll((error) => Deferred.fail(answer, error)),
        Effect.forkScoped
      )
    yield* Effect.forkScoped(write("hello"))
    return yield* Deferred.await(answer)
  })

describe("sockets between runners", () => {
  it.scopedLive("carry what one runner tells the other", () =>
    Effect.gen(function* () {
      const { port, got } = yield* echo
      expect(yield* say(port, identity)).toBe("hello")
      expect(got).toEqual(["hello"])
    })
  )

  it.scopedLive(
    "read nothing of a certificate that is another authority's, another region's, or out of date",
    () =>
      Effect.gen(function* () {
        const { port, got } = yield* echo
        for (const as of [stranger, otherRegion, expired]) {
          const exit = yield* Effect.exit(say(port, as))
          expect(Exit.isFailure(exit), as.certificateFile).toBe(true)
        }
        expect(got).toEqual([])
        expect(yield* say(port, identity)).toBe("hello")
      })
  )

  it.scopedLive("read nothing of whoever shows no certificate, or speaks no TLS", () =>
    Effect.gen(function* () {
      const { port, got } = yield* echo
      const without = yield* Effect.async<string>((resume) => {
        const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () =>
          socket.write("hello")
        )
        socket.once("data", () => resume(Effect.succeed("answered")))
        socket.on("error", () => undefined)
        socket.once("close", () => resume(Effect.succeed("closed")))
      })
      const plain = yield* Effect.async<string>((resume) => {
        const socket = connectPlain(port, "127.0.0.1", () => socket.write("hello, in plain words\n"))
        let text = ""
        socket.on("data", (piece) => {
          text += piece.toString("latin1")
        })
        socket.on("error", () => undefined)
        socket.once("close", () => resume(Effect.succeed(text.includes("hello") ? "answered" : "closed")))
      })
      expect([without, plain, got]).toEqual(["closed", "closed", []])
    })
  )

  it.scopedLive("are not opened to a server that is no runner of the region", () =>
    Effect.gen(function* () {
      const server = yield* makeServer(otherRegion, { host: "127.0.0.1", port: 0 })
      const port = server.address._tag === "TcpAddress" ? server.address.port : 0
      expect(Exit.isFailure(yield* Effect.exit(say(port, identity)))).toBe(true)
    })
  )

  it.scopedLive("take a new certificate without an end of what is open", () =>
    Effect.gen(function* () {
      const live = yield* followIdentity("test", identity)
      const before = live.current().cert.toString()
      writeFileSync(identity.certificateFile, renewed.certificate)
      yield* live.refresh
      // Certificate and key no longer fit: what was there holds.
      expect(live.current().cert.toString()).toBe(before)
      writeFileSync(identity.keyFile, renewed.key)
      yield* live.refresh
      expect(live.current().cert.toString()).toBe(renewed.certificate)
      const { port } = yield* echo
      expect(yield* say(port, identity)).toBe("hello")
    })
  )
})
