// Server-sent events: each alert once, in order, what was missed first; bounded in listeners; ended on stop.
import { connect } from "node:net"
import { it as effectIt } from "@effect/vitest"
import { Chunk, Effect, Fiber, Layer, Stream, TestClock } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import type { RegionEvent } from "../../../src/schema/protocol/RegionEvent.ts"
import { HEARTBEAT_MILLIS, LiveFeed } from "../../../src/services/inspect/LiveFeed.ts"
import { AlertFeed, FEED_ALERTS_MAX } from "../../../src/services/observe/AlertFeed.ts"
import { Metrics } from "../../../src/services/observe/Metrics.ts"
import { RegionEvents } from "../../../src/services/observe/RegionEvents.ts"
import { defaultConfig, Settings } from "../../../src/services/runtime/Settings.ts"
import { alertOf, type Surface, startSurface } from "./surface.ts"

const layer = LiveFeed.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(AlertFeed.layer, Metrics.layer)),
  Layer.provide(
    Layer.succeed(Settings, { ...defaultConfig, http: { ...defaultConfig.http, sseClientsMax: 2 } })
  )
)

const ids = (texts: Iterable<string>) => [...texts].flatMap((text) => /^id: (.+)$/m.exec(text)?.[1] ?? [])

describe("a feed", () => {
  effectIt.scoped("tells each alert that is raised from now on, as a CloudEvent", () =>
    Effect.gen(function* () {
      const feed = yield* LiveFeed
      const { publish } = yield* AlertFeed
      publish([alertOf(1)])
      const texts = yield* feed.texts({})
      publish([alertOf(2), alertOf(3)])
      const [, second, third] = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(texts, 3)))
      expect(ids([second, third])).toEqual(["flows.0.2.energy", "flows.0.3.energy"])
      expect(second).toMatch(/^id: .+\nevent: alert\ndata: \{.+\}\n\n$/)
      expect(JSON.parse(/^data: (.+)$/m.exec(second)?.[1] ?? "")).toMatchObject({
        specversion: "1.0",
        id: "flows.0.2.energy",
        source: "/groundstate/local/flows",
        type: "groundstate.alert.v1",
        subject: "pump-1",
        time: "2023-11-14T22:13:20.002Z",
        data: { offset: 2, device: "pump-1" }
      })
    }).pipe(Effect.provide(layer))
  )

  effectIt.scoped("starts with what was missed since the last event told", () =>
    Effect.gen(function* () {
      const feed = yield* LiveFeed
      const { publish } = yield* AlertFeed
      publish([alertOf(1), alertOf(2), alertOf(3)])
      const texts = yield* feed.texts({ lastEventId: "flows.0.1.energy" })
      publish([alertOf(4)])
      expect(ids(yield* Stream.runCollect(Stream.take(texts, 4)))).toEqual([
        "flows.0.2.energy",
        "flows.0.3.energy",
        "flows.0.4.energy"
      ])
    }).pipe(Effect.provide(layer))
  )

  effectIt.scoped("goes on behind an alert from before the runner started, and repeats none", () =>
    Effect.gen(function* () {
      const feed = yield* LiveFeed
      const { fill, publish } = yield* AlertFeed
      publish([alertOf(3)])
      fill([alertOf(1), alertOf(2), alertOf(3)])
      publish([alertOf(3)])
      const texts = yield* feed.texts({ lastEventId: "flows.0.1.energy" })
      publish([alertOf(4)])
      expect(ids(yield* Stream.runCollect(Stream.take(texts, 4)))).toEqual([
        "flows.0.2.energy",
        "flows.0.3.energy",
        "flows.0.4.energy"
      ])
    }).pipe(Effect.provide(layer))
  )

  effectIt.scoped("says so where it no longer knows the last one told, and tells what it has", () =>
    Effect.gen(function* () {
      const feed = yield* LiveFeed
      const { publish } = yield* AlertFeed
      publish([alertOf(1), alertOf(2)])
      const texts = yield* feed.texts({ lastEventId: "flows.0.0.energy" })
      const [, gap, ...rest] = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(texts, 4)))
      expect(gap).toMatch(/^event: gap\ndata: \{"detail":".*GET \/v1\/alerts.*"\}\n\n$/)
      expect(ids(rest)).toEqual(["flows.0.1.energy", "flows.0.2.energy"])
    }).pipe(Effect.provide(layer))
  )

  effectIt.scoped("ends for a listener that falls too far behind, which goes on where it was", () =>
    Effect.gen(function* () {
      const feed = yield* LiveFeed
      const { publish } = yield* AlertFeed
      let cut = 0
      const texts = yield* feed.texts({}, () => void cut++)
      const some = Array.from({ length: FEED_ALERTS_MAX + 3 }, (_, offset) => alertOf(offset))
      publish(some.slice(0, FEED_ALERTS_MAX))
      expect(cut).toBe(0)
      publish(some.slice(FEED_ALERTS_MAX))
      expect(cut).toBe(1)
      // It ends by itself: nothing is told with a hole in it.
      const told = ids(yield* Stream.runCollect(texts))
      expect(told.length).toBeLessThanOrEqual(FEED_ALERTS_MAX)
      const again = yield* feed.texts({ lastEventId: some[FEED_ALERTS_MAX - 2].id })
      expect(ids(yield* Stream.runCollect(Stream.take(again, 5)))).toEqual(
        some.slice(FEED_ALERTS_MAX - 1).map(({ id }) => id)
      )
    }).pipe(Effect.provide(layer))
  )

  effectIt.scoped("keeps to one device where asked", () =>
    Effect.gen(function* () {
      const feed = yield* LiveFeed
      const { publish } = yield* AlertFeed
      const texts = yield* feed.texts({ device: "pump-2" })
      publish([alertOf(1, "pump-1"), alertOf(2, "pump-2")])
      expect(ids(yield* Stream.runCollect(Stream.take(texts, 2)))).toEqual(["flows.0.2.energy"])
    }).pipe(Effect.provide(layer))
  )

  effectIt.scoped("says that it is still here, every 15 seconds", () =>
    Effect.gen(function* () {
      const feed = yield* LiveFeed
      const texts = yield* feed.texts({})
      const reading = yield* Effect.fork(Stream.runCollect(Stream.take(texts, 3)))
      yield* TestClock.adjust(2 * HEARTBEAT_MILLIS)
      const [, ...beats] = Chunk.toReadonlyArray(yield* Fiber.join(reading))
      expect(beats).toEqual([": still here\n\n", ": still here\n\n"])
    }).pipe(Effect.provide(layer))
  )

  effectIt.scoped("takes no more listeners than allowed, and takes another when one has left", () =>
    Effect.gen(function* () {
      const feed = yield* LiveFeed
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* feed.texts({})
          yield* feed.texts({})
          const refused = yield* Effect.flip(feed.texts({}))
          expect([refused.status, refused.retryAfter]).toEqual([503, 30])
        })
      )
      expect(feed.open()).toBe(0)
      yield* feed.texts({})
      expect(feed.open()).toBe(1)
    }).pipe(Effect.provide(layer))
  )
})

describe("a feed of the region's events", () => {
  /** Events that are there, for whoever asks for those after a number. */
  const events: Array<RegionEvent> = []
  const withEvents = layer.pipe(
    Layer.provide(
      Layer.succeed(RegionEvents, {
        tell: () => {},
        list: () => Effect.succeed([]),
        after: (seq, limit) => Effect.sync(() => events.filter((one) => one.seq > seq).slice(0, limit)),
        newest: Effect.sync(() => events.length)
      })
    )
  )
  const happen = (seq: number) => {
    events.push({ seq, at: 1, kind: "takeover", runner: "a", stream: "flows", partition: 1, detail: "x" })
  }

  effectIt.scoped("tells what comes, or what came behind the last one told", () =>
    Effect.gen(function* () {
      const feed = yield* LiveFeed
      for (let seq = 1; seq <= 4; seq++) happen(seq)
      const behind = yield* feed.eventTexts(2)
      expect(ids(yield* Stream.runCollect(Stream.take(behind, 3)))).toEqual(["3", "4"])
      const fresh = yield* feed.eventTexts(undefined)
      const reading = yield* Effect.fork(Stream.runCollect(Stream.take(fresh, 2)))
      yield* TestClock.adjust(1_000)
      happen(5)
      yield* TestClock.adjust(1_000)
      const [, text] = Chunk.toReadonlyArray(yield* Fiber.join(reading))
      expect(text).toMatch(/^id: 5\nevent: takeover\ndata: \{.+\}\n\n$/)
    }).pipe(Effect.provide(withEvents))
  )
})

describe("over HTTP", () => {
  let surface: Surface | undefined
  afterEach(async () => {
    await surface?.stop()
    surface = undefined
  })

  const listen = async (to: Surface, headers: Record<string, string> = {}) => {
    const response = await fetch(`${to.url}/v1/alerts`, {
      headers: { accept: "text/event-stream", ...headers }
    })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    const next = async () => Buffer.from((await reader.read()).value ?? []).toString()
    return { response, reader, next }
  }

  it("is a feed only where asked for, and open until it stops", async () => {
    surface = await startSurface()
    const { response, next, reader } = await listen(surface)
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8")
    expect(await next()).toBe("retry: 2000\n\n")
    await surface.runtime.runPromise(Effect.map(AlertFeed, ({ publish }) => publish([alertOf(7)])))
    expect(ids([await next()])).toEqual(["flows.0.7.energy"])
    const stopping = surface.stop()
    expect((await reader.read()).done).toBe(true)
    await stopping
    surface = undefined
  })

  it("closes the connection of a listener that does not read", async () => {
    surface = await startSurface()
    const socket = connect(surface.port, "127.0.0.1")
    const closed = new Promise((resolve) => socket.once("close", resolve))
    socket.on("error", () => {})
    socket.write("GET /v1/alerts HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
    await new Promise((resolve) => socket.once("readable", resolve))
    const { runtime } = surface
    const feed = await runtime.runPromise(AlertFeed)
    const live = await runtime.runPromise(LiveFeed)
    const long = "x".repeat(16_384)
    // The kernels' buffers take some megabytes before the runner notices anything.
    for (let offset = 0; live.open() > 0 && offset < 50_000; offset++) {
      feed.publish([{ ...alertOf(offset), summary: long }])
      if (offset % 32 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(live.open()).toBe(0)
    socket.resume()
    await closed
    const { exposition } = await runtime.runPromise(Metrics)
    expect(await runtime.runPromise(exposition)).toContain("groundstate_live_feeds_cut_total 1")
  })

  it("frees its place when the listener goes", async () => {
    surface = await startSurface({ http: { sseClientsMax: 1 } })
    const first = await listen(surface)
    await first.next()
    const refused = await fetch(`${surface.url}/v1/alerts`, { headers: { accept: "text/event-stream" } })
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "30"])
    await refused.text()
    await first.reader.cancel()
    let again = await fetch(`${surface.url}/v1/alerts`, { headers: { accept: "text/event-stream" } })
    while (again.status === 503) {
      await again.text()
      again = await fetch(`${surface.url}/v1/alerts`, { headers: { accept: "text/event-stream" } })
    }
    expect(again.status).toBe(200)
    await again.body?.cancel()
  })
})
