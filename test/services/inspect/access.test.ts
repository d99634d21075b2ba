// F27, I12: no address outside the allow-list answers anything but 401 or 403 without a role that holds.
import { connect } from "node:net"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Permission, permissionsOf, type Role, roleNames } from "../../../src/schema/api/Access.ts"
import { Access } from "../../../src/services/inspect/Access.ts"
import { DENIALS_TOLD_MAX } from "../../../src/services/inspect/accessLog.ts"
import { openApiDocument, routesOf } from "../../../src/services/inspect/openApi.ts"
import type { Route } from "../../../src/services/inspect/routes.ts"
import { badTokens, type Credentials, jwtOf, makeCredentials } from "./credentials.ts"
import { digest } from "./samples.ts"
import { makeWorld, type Surface, startSurface } from "./surface.ts"

/** What needs no token: addresses that tell nothing of what happens here. */
const allowList = ["GET /", "GET /docs", "GET /openapi.json", "GET /livez", "GET /readyz"]

let from: Credentials
let surface: Surface
const lines: Array<Readonly<Record<string, unknown>>> = []
beforeAll(async () => {
  from = makeCredentials()
  surface = await startSurface({
    world: makeWorld(["pump-1"]),
    access: from.access,
    streams: ["flows"],
    onLog: (line) => lines.push(line)
  })
})
afterAll(async () => {
  await surface.stop()
  from.remove()
})

const event = JSON.stringify({ id: "e1", device: "pump-1", ts: 1_700_000_000_000, bytesIn: 1 })
const places: Readonly<Record<string, string>> = {
  "/v1/cells/:stream/:partition": "/v1/cells/flows/0",
  "/v1/devices/:id": "/v1/devices/pump-1",
  "/v1/models/:digest": `/v1/models/${digest}`,
  "/v1/models/:digest/activate": `/v1/models/${digest}/activate`,
  "/v1/models/:digest/retire": `/v1/models/${digest}/retire`
}
const bodies: Readonly<Record<string, string>> = {
  "/v1/events": event,
  "/v1/score": event,
  "/v1/deadletters/replay": '{"ids":["x"],"dryRun":true}',
  "/v1/models/:digest/activate": '{"stream":"flows"}',
  "/v1/devices/:id/override": '{"until":1800000000000}',
  "/v1/devices/:id/label": '{"label":"false-alarm"}'
}
const targetOf = ({ template }: Route): string => places[template] ?? template.replaceAll(/:\w+/g, "pump-1")
const bodyOf = ({ method, template }: Route): string | undefined =>
  method === "GET" ? undefined : (bodies[template] ?? "{}")
const closed = routesOf().filter((route) => route.needs !== "nothing")

const ask = async (
  route: Route,
  headers: Readonly<Record<string, string>>,
  target = targetOf(route),
  method = route.method
) => {
  const body = method === "GET" || method === "HEAD" ? undefined : bodyOf(route)
  const response = await fetch(surface.url + target, {
    method,
    redirect: "manual",
    headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    ...(body === undefined ? {} : { body })
  })
  const text = response.headers.get("content-type")?.startsWith("text/event-stream")
    ? await response.body?.cancel().then(() => "")
    : await response.text()
  return { status: response.status, headers: response.headers, text: text ?? "" }
}

/** Bytes as they are, to the head and body of the answer. */
const raw = (head: ReadonlyArray<string>, body = ""): Promise<string> =>
  new Promise((resolve) => {
    const chunks: Array<Buffer> = []
    const done = () => resolve(Buffer.concat(chunks).toString("latin1"))
    const socket = connect(surface.port, "127.0.0.1", () =>
      socket.end(
        `${[...head, `Content-Length: ${body.length}`, "Connection: close"].join("\r\n")}\r\n\r\n${body}`
      )
    )
    socket.on("data", (chunk) => chunks.push(chunk))
    socket.on("error", done)
    socket.on("close", done)
  })
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1])

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const name = (route: Route) => `${route.method} ${route.template}`

describe("F27 I12 every address", () => {
  it("is closed but for the allow-list, and each that changes something says what it needs", () => {
    const open = routesOf().filter((route) => route.needs === "nothing")
    expect(open.map(name).sort()).toEqual([...allowList].sort())
    const changes = closed.filter(({ method }) => method !== "GET")
    expect(Object.fromEntries(changes.map((route) => [name(route), route.needs]))).toEqual({
      "POST /v1/events": "produce",
      "POST /v1/score": "produce",
      "POST /v1/devices/:id/quarantine": "operate",
      "POST /v1/devices/:id/release": "operate",
      "POST /v1/devices/:id/override": "operate",
      "POST /v1/devices/:id/label": "operate",
      "POST /v1/deadletters/replay": "operate",
      "POST /v1/models/:digest/activate": "administer",
      "POST /v1/models/:digest/retire": "administer"
    })
    expect(closed.filter(({ method }) => method === "GET").every(({ needs }) => needs === "read")).toBe(true)
    expect(closed.length).toBe(Object.values(openApiDocument().paths).flatMap(Object.keys).length - 2)
  })

  it.each(closed.map((route) => [name(route), route] as const))(
    "%s denies whoever shows nothing, or anything that is no token of this region",
    async (_, route) => {
      const missing = await ask(route, {})
      expect(missing.status).toBe(401)
      expect(missing.headers.get("www-authenticate")).toBe('Bearer realm="local"')
      expect(missing.headers.get("content-type")).toMatch(/^application\/problem\+json/)
      for (const [what, authorization] of badTokens(from)) {
        const { status, headers, text } = await ask(route, { authorization })
        const allowed = /region$|roles/.test(what) ? [401, 403] : [401]
        expect(allowed, `${what}: ${status} ${text}`).toContain(status)
        expect(headers.get("www-authenticate")).toContain('error="')
      }
      const world = surface.world
      expect(world.commands).toEqual([])
      expect([...world.topics.values()].flat(2)).toEqual([])
    }
  )

  it.each(closed.map((route) => [name(route), route] as const))(
    "%s answers the roles that hold what it needs, and names the role to all others",
    async (_, route) => {
      for (const role of roleNames) {
        const { status, text } = await ask(route, bearer(from.tokenOf(role)))
        if (permissionsOf[role].includes(route.needs as Permission)) {
          expect([200, 202, 404, 422], `${role}: ${text}`).toContain(status)
        } else {
          expect(status, role).toBe(403)
          const needed = roleNames.find((one) => permissionsOf[one].includes(route.needs as Permission))
          expect(JSON.parse(text).detail).toContain(`needs the role ${needed}`)
        }
      }
      expect([200, 202, 404, 422]).toContain((await ask(route, bearer(jwtOf(from)))).status)
      const lesser: Role = route.needs === "produce" ? "viewer" : "producer"
      expect((await ask(route, bearer(jwtOf(from, { roles: [lesser] })))).status).toBe(403)
    }
  )

  it("takes no method for another", async () => {
    const viewer = bearer(from.tokenOf("viewer"))
    for (const route of closed.filter(({ method }) => method === "POST")) {
      for (const override of ["x-http-method-override", "x-http-method", "x-method-override"]) {
        expect((await ask(route, { ...viewer, [override]: "GET" })).status, name(route)).toBe(403)
        expect((await ask(route, { [override]: "GET" })).status, name(route)).toBe(401)
      }
      const query = `${targetOf(route)}?_method=GET&stream=flows`
      expect((await ask(route, viewer, query)).status).toBe(403)
    }
    for (const route of closed.filter(({ method }) => method === "GET")) {
      for (const method of ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "POST"]) {
        expect((await ask(route, {}, targetOf(route), method)).status, `${method} ${name(route)}`).toBe(401)
      }
    }
  })

  it("is not reached by another spelling of it", async () => {
    const decided = [...surface.world.commands]
    for (const route of closed) {
      const target = targetOf(route)
      const spellings = [
        `/${target}`,
        `//livez/..${target}`,
        `/livez/..${target}`,
        `/livez/..%2f${target.slice(1)}`,
        `/livez%2f..${target}`,
        `/livez;${target}`,
        `/livez?${target}`,
        `/livez#${target}`,
        `/docs/..${target}`,
        `/.${target}`,
        `/%2e${target}`,
        target.replaceAll("/", "//"),
        target.replaceAll("/", "\\"),
        target.replaceAll("/", "%2f"),
        `${target}/`,
        `${target}/.`,
        `${target}%2f`,
        `${target}%00`,
        `${target}?access_token=${from.tokenOf("admin")}`,
        target.replace("v1", "V1"),
        target.replace("v1", "%761"),
        target.replace("/v1/", "/v1/x/../"),
        `http://127.0.0.1${target}`,
        `http://127.0.0.1//livez/..${target}`,
        `http:${target}`,
        "*"
      ]
      for (const spelling of spellings) {
        const answer = await raw(
          [`${route.method} ${spelling} HTTP/1.1`, "Host: 127.0.0.1", "Content-Type: application/json"],
          bodyOf(route)
        )
        const told = statusOf(answer)
        // What is spelled as an open address is that one, and tells no more than it.
        const open = /^\/livez[?#]/.test(spelling) && route.method === "GET"
        expect([400, 401, 403, ...(open ? [200] : [])], `${route.method} ${spelling}: ${answer}`).toContain(
          told
        )
        if (open && told === 200) expect(answer).toContain('{"live":true,"stuck":[]}')
      }
    }
    expect(surface.world.commands).toEqual(decided)
  })

  it("wants one Authorization header, of bearable size", async () => {
    const good = `Authorization: Bearer ${from.tokenOf("admin")}`
    for (const route of closed) {
      const send = (...headers: ReadonlyArray<string>) =>
        raw(
          [
            `${route.method} ${targetOf(route)} HTTP/1.1`,
            "Host: 127.0.0.1",
            "Content-Type: application/json",
            ...headers
          ],
          bodyOf(route)
        ).then(statusOf)
      expect(await send(good, good), name(route)).toBe(401)
      expect(await send(good, "Authorization: Bearer x"), name(route)).toBe(401)
      expect(await send("authorization: Bearer x", good), name(route)).toBe(401)
      expect(await send(`Authorization : Bearer ${from.tokenOf("admin")}`), name(route)).toBe(400)
      expect(await send(`X: ${"a".repeat(20_000)}`, good), name(route)).toBe(431)
      expect(await send(`Proxy-Authorization: Bearer ${from.tokenOf("admin")}`), name(route)).toBe(401)
      expect(await send(`Cookie: token=${from.tokenOf("admin")}`), name(route)).toBe(401)
    }
  })
})

const read = closed.find((route) => name(route) === "GET /v1/streams") as Route
const refresh = () => surface.runtime.runPromise(Effect.flatMap(Access, (access) => access.refresh))

describe("a token", () => {
  it("is refused once it is revoked, and its successor is taken", async () => {
    const { minted, write } = from
    const others = Object.values(minted).filter(({ record }) => record.name !== "vera")
    const viewer = bearer(from.tokenOf("viewer"))
    expect((await ask(read, viewer)).status).toBe(200)
    write(others.map(({ record }) => record))
    await refresh()
    expect((await ask(read, viewer)).status).toBe(401)
    write(Object.values(minted).map(({ record }) => record))
    await refresh()
    expect((await ask(read, viewer)).status).toBe(200)
  })

  it("goes on while others fail as often as they like, from the same address", async () => {
    const denied = await Promise.all(
      Array.from({ length: 500 }, (_, n) => ask(read, bearer(`gst_${"0".repeat(16)}_${n}`)))
    )
    expect(denied.every(({ status }) => status === 401)).toBe(true)
    expect((await ask(read, bearer(from.tokenOf("viewer")))).status).toBe(200)
  })

  it("of an issuer holds within a minute of clock difference", async () => {
    const now = Math.floor(Date.now() / 1_000)
    expect((await ask(read, bearer(jwtOf(from, { exp: now - 50 })))).status).toBe(200)
    expect((await ask(read, bearer(jwtOf(from, { nbf: now + 50 })))).status).toBe(200)
    expect((await ask(read, bearer(jwtOf(from, { exp: now - 70 })))).status).toBe(401)
  })
})

describe("a decision", () => {
  it("is recorded under the token's name, whatever the request says, and told in the access log", async () => {
    lines.length = 0
    const answer = await fetch(`${surface.url}/v1/devices/pump-1/quarantine`, {
      method: "POST",
      headers: { ...bearer(from.tokenOf("operator")), "content-type": "application/json" },
      body: '{"reason":"leak","by":"mallory"}'
    })
    expect(((await answer.json()) as { quarantine: { by: string } }).quarantine.by).toBe("ada")
    expect(lines.filter(({ message }) => message === "access")).toEqual([
      {
        level: "INFO",
        message: "access",
        who: "ada",
        token: from.minted.operator.record.id,
        roles: "operator",
        from: expect.stringContaining("127.0.0.1"),
        method: "POST",
        route: "/v1/devices/:id/quarantine",
        id: "pump-1",
        status: 200,
        outcome: "done"
      }
    ])
    expect(JSON.stringify(lines)).not.toContain(from.tokenOf("operator").slice(21))
  })

  it("that is denied is told with why, and not more often than a disk can bear", async () => {
    lines.length = 0
    await Promise.all(
      Array.from({ length: 2 * DENIALS_TOLD_MAX }, () => ask(read, bearer(from.tokenOf("producer"))))
    )
    expect(lines.length).toBeLessThanOrEqual(DENIALS_TOLD_MAX)
  })
})

describe("probes", () => {
  it("tell whoever may not read only whether", async () => {
    const at = async (path: string, headers: Record<string, string> = {}) =>
      (await fetch(surface.url + path, { headers })).json()
    expect(await at("/readyz")).toMatchObject({ components: [] })
    expect(await at("/livez")).toEqual({ live: true, stuck: [] })
    expect((await fetch(`${surface.url}/metrics`)).status).toBe(401)
  })

  it("have open metrics where the configuration says so", async () => {
    const open = await startSurface({ access: { ...from.access, metrics: "open" }, onLog: () => {} })
    try {
      expect((await fetch(`${open.url}/metrics`)).status).toBe(200)
      expect((await fetch(`${open.url}/v1/streams`)).status).toBe(401)
    } finally {
      await open.stop()
    }
  })
})

describe("without tokens", () => {
  it("everybody on this machine is answered, but no web page of somebody else", async () => {
    const trial = await startSurface({ world: makeWorld(["pump-1"]), streams: ["flows"], onLog: () => {} })
    const exchange = (headers: ReadonlyArray<string>) =>
      new Promise<number>((resolve) => {
        let text = ""
        const socket = connect(trial.port, "127.0.0.1", () =>
          socket.end(
            `POST /v1/devices/pump-1/quarantine HTTP/1.1\r\n${headers.join("\r\n")}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`
          )
        )
        socket.on("data", (chunk) => {
          text += String(chunk)
        })
        socket.on("close", () => resolve(statusOf(text)))
      })
    try {
      const host = `Host: 127.0.0.1:${trial.port}`
      expect(await exchange(["Host: evil.example"])).toBe(403)
      expect(await exchange([host, "Origin: https://evil.example"])).toBe(403)
      expect(await exchange([host, "Origin: null"])).toBe(403)
      expect(await exchange([host, "Sec-Fetch-Site: cross-site"])).toBe(403)
      expect(await exchange([host, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"])).toBe(403)
      expect(trial.world.commands).toEqual([])
      expect(await exchange([host])).toBe(200)
      expect(
        await exchange([host, `Origin: http://127.0.0.1:${trial.port}`, "Sec-Fetch-Site: same-origin"])
      ).toBe(200)
      expect(await exchange(["Host: localhost"])).toBe(200)
    } finally {
      await trial.stop()
    }
  })
})
