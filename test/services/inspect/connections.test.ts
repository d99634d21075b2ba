// F29 slow clients: those that are slow on purpose push out each other, and honest ones are served. I13.
import { createServer, type RequestListener, type Server } from "node:http"
import { type AddressInfo, connect, type Socket } from "node:net"
import { Effect, Exit, Scope, TestClock, TestContext } from "effect"
import { afterEach, expect, it } from "vitest"
import { type CutCause, keepWithin } from "../../../src/services/inspect/connections.ts"

const MAX = 20
const STUCK_MILLIS = 10

interface Door {
  readonly cuts: Array<CutCause>
  /** Opens a connection and says something; gives it once the server has taken it or turned it away. */
  readonly say: (text: string) => Promise<Socket>
  /** Asks as an honest client does, on a connection of its own; gives the status. */
  readonly ask: () => Promise<number>
  readonly port: number
  readonly server: Server
  /** Lets the server look for clients that do not read. */
  readonly look: () => Promise<void>
  readonly close: () => Promise<void>
}

let door: Door | undefined
afterEach(async () => {
  await door?.close()
  door = undefined
})

const open = async (listener: RequestListener): Promise<Door> => {
  const server = createServer(listener)
  const cuts: Array<CutCause> = []
  const scope = Effect.runSync(Scope.make())
  const clock = await Effect.runPromise(
    Effect.gen(function* () {
      const testClock = yield* TestClock.testClock()
      yield* Scope.extend(
        keepWithin(server, { max: MAX, stuckMillis: STUCK_MILLIS }, (cause) => void cuts.push(cause)),
        scope
      )
      return testClock
    }).pipe(Effect.provide(TestContext.TestContext))
  )
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  const sockets: Array<Socket> = []
  return {
    cuts,
    server,
    port,
    say: (text) =>
      new Promise((resolve) => {
        server.once("connection", () => setImmediate(() => resolve(socket)))
        const socket = connect(port, "127.0.0.1")
        sockets.push(socket)
        socket.on("error", () => {})
        socket.write(text)
      }),
    ask: async () => {
      const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } })
      await response.arrayBuffer()
      return response.status
    },
    look: () => Effect.runPromise(clock.adjust("1 second")),
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }
}

const fine: RequestListener = (_, response) => {
  response.end("fine")
}
const closed = (socket: Socket) =>
  new Promise<void>((resolve) => (socket.closed ? resolve() : socket.once("close", () => resolve())))

it("lets connections that send nothing, or half of their headers, go for an honest one", async () => {
  door = await open(fine)
  const slow: Array<Socket> = []
  for (let n = 0; n < MAX; n++)
    slow.push(await door.say(n % 2 === 0 ? "" : "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "))
  expect(await door.ask()).toBe(200)
  expect(door.cuts).toEqual(["crowded"])
  slow[0].resume()
  await closed(slow[0])
})

it("serves whoever asks at once while three times as many as may be are slow", async () => {
  door = await open(fine)
  for (let n = 0; n < 3 * MAX; n++) {
    await door.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nso far")
    if (n % 5 === 0) expect(await door.ask()).toBe(200)
  }
  expect(door.cuts).not.toContain("refused")
})

it("lets a body that takes its time go, and keeps a request that is being answered", async () => {
  const answers: Array<() => void> = []
  door = await open((request, response) => {
    if (request.method === "GET") answers.push(() => response.end("at last"))
  })
  const asked: Array<Socket> = []
  for (let n = 0; n < MAX - 1; n++) asked.push(await door.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
  const slow = await door.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nso far")
  while (answers.length < MAX - 1) await new Promise((resolve) => setImmediate(resolve))
  asked.push(await door.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
  slow.resume()
  await closed(slow)
  // Every place has an answer under way: the next one is turned away, and nobody else.
  while (answers.length < MAX) await new Promise((resolve) => setImmediate(resolve))
  const late = await door.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
  late.resume()
  await closed(late)
  expect(door.cuts).toEqual(["crowded", "refused"])
  const heard = asked.map(
    (socket) => new Promise<string>((resolve) => socket.once("data", (data) => resolve(String(data))))
  )
  for (const answer of answers) answer()
  for (const text of await Promise.all(heard)) expect(text).toContain("at last")
})

it("cuts off a client that takes nothing of its answer, and none that reads", async () => {
  const large = Buffer.alloc(32 << 20, "x")
  door = await open((_, response) => {
    response.end(large)
  })
  const deaf = await door.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
  const before = performance.now()
  while (door.cuts.length === 0 && performance.now() - before < 20_000) {
    await door.look()
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(door.cuts).toEqual(["stuck"])
  deaf.resume()
  await closed(deaf)
  expect(await door.ask()).toBe(200)
  expect(door.cuts).toEqual(["stuck"])
})
