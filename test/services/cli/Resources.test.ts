import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { type Answer, type HarnessOptions, type Request, runWords, serveApi } from "./commandHarness.ts"

const digest = `sha256:${"0123456789abcdef".repeat(4)}`
const at = Date.parse("2026-05-01T12:00:00Z")

const incident = {
  id: "inc-flows.0.7.fast",
  stream: "flows",
  device: "pump-1",
  status: "open",
  severity: "high",
  openedAt: at,
  lastAlertAt: at + 1_000,
  resolvedAt: null,
  alerts: 3,
  firstAlert: "flows.0.7.fast",
  lastAlert: "flows.0.9.fast",
  peakEnergy: 12.5,
  summary: "bytesIn was 9,000, expected 120",
  label: null
}
const contributions = [
  { feature: "bytesIn", energy: 8, observed: 9_000, expected: 120 },
  { feature: "proto rarity", energy: 2, observed: "icmp", expected: "tcp" },
  { feature: "gap", energy: -0.5, observed: null, expected: 1 }
]
const record = {
  stream: "flows",
  device: "pump-1",
  version: 4,
  incident,
  quarantine: null,
  override: null,
  label: null
}
const device = {
  stream: "flows",
  device: "pump-1",
  partition: 0,
  owner: "runner-1",
  epoch: 2,
  cell: {
    stream: "flows",
    device: "pump-1",
    partition: 0,
    owner: "runner-1",
    epoch: 2,
    events: 1_234,
    lastEventAt: at,
    baselines: [{ signal: "bytesIn", scale: "log", mean: 4.8, deviation: 0.31 }],
    windows: [{ window: "count1m", value: 12 }],
    quietUntil: null,
    thresholdShift: 0.35,
    quarantined: false,
    recent: [
      { offset: 7, time: at, path: "fast", energy: 12.5, pvalue: 0.00002, alerted: true, contributions },
      {
        offset: 8,
        time: at + 1_000,
        path: "fast",
        energy: 1.5,
        pvalue: 0.4,
        alerted: false,
        contributions: []
      }
    ]
  },
  record
}
const cell = {
  stream: "flows",
  partition: 0,
  owner: "runner-1",
  epoch: 2,
  offset: 900,
  endOffset: 1_000,
  lag: 100,
  oldestEventAgeSeconds: 2.5,
  paused: null,
  pauseDetail: null,
  watermark: at + 60_000,
  eventsPerSecond: 45.2,
  devices: 12,
  model: digest,
  path: "fast",
  breaker: "closed",
  counters: {
    scored: 900,
    secondStage: 0,
    alerts: 3,
    suppressed: 1,
    deadLetters: 2,
    duplicates: 0,
    late: 4,
    ahead: 0
  },
  checkpoint: { offset: 880, at, bytes: 4_096, millis: 3 },
  drift: {
    state: "watch",
    from: at,
    to: at + 86_400_000,
    rows: 6_000,
    blocks: 8,
    energy: { state: "stable", psi: 0.021, bound: 0.05, ks: 0.03, ksLevel: 0.06 },
    features: [
      { feature: "bytesIn", state: "watch", psi: 0.18, bound: 0.07 },
      { feature: "gap", state: "stable", psi: 0.01, bound: 0.06 }
    ],
    week: 3.25,
    weekBefore: 3
  },
  startedAt: at,
  takeoverMillis: 41,
  stateBytes: 8_192
}
const model = {
  digest,
  name: "flows",
  drift: null,
  driftMissing: 1,
  state: "active",
  stream: "flows",
  createdAt: "2026-05-01T12:00:00Z",
  activatedAt: at,
  retiredAt: null,
  features: 9,
  prototypes: 64,
  trainingRows: 10_000,
  cells: [{ partition: 0, offset: 900, epoch: 2 }],
  version: 2
}
const letter = {
  id: "flows.0.5",
  stream: "flows",
  topic: "flows",
  partition: 0,
  offset: 5,
  timestamp: at,
  reason: "bad-json",
  detail: "line 1: unexpected end",
  attempts: 1,
  bytes: Buffer.from('{"a":').toString("base64"),
  size: 5
}
const listed = (index: number) => ({
  device: `pump-${index}`,
  stream: "flows",
  partition: index % 2,
  events: index * 10,
  lastEventAt: at,
  quarantined: index === 2,
  incident: index === 1 ? incident.id : null
})

const answers = ({ method, url, body, headers: { accept } }: Request): Answer | undefined => {
  const path = decodeURIComponent(url.split("?")[0])
  const query = new URLSearchParams(url.split("?")[1])
  if (method === "POST") {
    if (path === "/v1/deadletters/replay") {
      const { dryRun } = JSON.parse(body) as { readonly dryRun: boolean }
      return {
        body: {
          dryRun,
          appended: dryRun ? 0 : 1,
          results: [
            {
              id: letter.id,
              outcome: dryRun ? "would-decode" : "appended",
              detail: null,
              partition: 0,
              offset: dryRun ? null : 1_001
            }
          ]
        }
      }
    }
    if (path.startsWith("/v1/models/"))
      return { body: { ...model, state: path.endsWith("retire") ? "retired" : "active" } }
    const sent = JSON.parse(body) as Record<string, unknown>
    if (path.endsWith("/override")) return { body: { ...record, version: 5, override: { ...sent, at } } }
    if (path.endsWith("/label"))
      return { body: { ...record, version: 5, label: { ...sent, incident: null, at } } }
    return path.startsWith("/v1/devices/pump-1/") ? { body: { ...record, version: 5 } } : undefined
  }
  switch (path) {
    case "/v1/devices": {
      // Five devices in pages of at most two.
      const from = Number(query.get("cursor") ?? 0)
      const limit = Math.min(2, Number(query.get("limit")))
      const items = [0, 1, 2, 3, 4].slice(from, from + limit).map(listed)
      return { body: { items, next: from + limit < 5 ? String(from + limit) : null } }
    }
    case "/v1/devices/pump-1":
      return { body: device }
    case "/v1/cells":
      return {
        body: { items: [cell], unreachable: [{ stream: "flows", partition: 1, detail: "no answer in 2 s" }] }
      }
    case "/v1/cells/flows/0":
      return { body: cell }
    case "/v1/regions":
      return { body: { items: [{ region: "north" }] } }
    case "/v1/regions/north/events":
      return accept === "text/event-stream"
        ? {
            type: "text/event-stream",
            body: `id: 7\nevent: takeover\ndata: ${JSON.stringify(tookOver)}\n\n`
          }
        : { body: { items: [tookOver, wentAway], next: null } }
    case "/v1/runners":
      return { body: { items: [runner, gone] } }
    case "/v1/runners/runner-1":
      return { body: runner }
    case "/v1/models":
      return { body: { items: [model] } }
    case `/v1/models/${digest}`:
      return { body: model }
    case "/v1/incidents":
      return { body: { items: query.get("status") === "resolved" ? [] : [incident], next: null } }
    case `/v1/incidents/${incident.id}`:
      return { body: { incident, alerts: [] } }
    case "/v1/deadletters":
      return { body: { items: [letter], next: null } }
    case "/v1/deadletters/flows.0.5":
      return { body: letter }
    case "/v1/alerts": {
      const alert = {
        id: "flows.0.7.fast",
        stream: "flows",
        partition: 0,
        offset: 7,
        device: "pump-1",
        time: at,
        recordTime: at,
        severity: "high",
        rule: null,
        escalated: false,
        path: "fast",
        model: digest,
        energy: 12.5,
        pvalue: 0.00002,
        threshold: 9,
        contributions,
        prototype: 3,
        quarantined: false,
        summary: "bytesIn was 9,000, expected 120"
      }
      const event = {
        specversion: "1.0",
        id: alert.id,
        type: "groundstate.alert.v1",
        source: "/x",
        data: alert
      }
      return {
        type: "text/event-stream",
        body: `: hello\n\nid: ${alert.id}\nevent: alert\ndata: ${JSON.stringify(event)}\n\n`
      }
    }
    default:
      return undefined
  }
}

const runner = {
  id: "runner-1",
  address: "10.0.0.1:7070",
  http: "http://10.0.0.1:8080",
  version: "0.1.0",
  startedAt: at,
  state: "alive",
  heartbeatAgeSeconds: 0.4,
  cells: ["flows/0", "flows/1"]
}
const gone = { ...runner, id: "runner-2", version: null, state: "gone", heartbeatAgeSeconds: 65, cells: [] }

const tookOver = {
  seq: 7,
  at,
  kind: "takeover",
  runner: "runner-1",
  stream: "flows",
  partition: 3,
  detail: "Runner runner-1 has cell flows/3."
}
const wentAway = {
  ...tookOver,
  seq: 6,
  kind: "runner-gone",
  stream: null,
  partition: null,
  detail: "Runner runner-2 was given up: it has ended."
}

/** Ages are told as of an hour after the first event. */
const now = at + 3_600_000
const live = Clock.make()
const fixed: Clock.Clock = {
  [Clock.ClockTypeId]: Clock.ClockTypeId,
  sleep: (duration) => live.sleep(duration),
  unsafeCurrentTimeMillis: () => now,
  unsafeCurrentTimeNanos: () => BigInt(now) * 1_000_000n,
  currentTimeMillis: Effect.succeed(now),
  currentTimeNanos: Effect.succeed(BigInt(now) * 1_000_000n)
}

const ask = (words: string, options: HarnessOptions = {}) =>
  Effect.gen(function* () {
    const api = yield* serveApi(answers)
    const outcome = yield* runWords(words.split(" "), {
      variables: { GROUNDSTATE_SERVER: api.url },
      ...options
    })
    return { ...outcome, requests: api.requests, url: api.url }
  }).pipe(Effect.scoped, Effect.withClock(fixed))

describe("devices", () => {
  it.live("lists with cursors up to the limit, as a table", () =>
    Effect.gen(function* () {
      const { code, out, err, requests } = yield* ask("devices get --limit 3")
      expect(code).toBe(0)
      expect(err).toBe("")
      expect(out).toMatchInlineSnapshot(`
        "DEVICE   CELL      EVENTS   LAST EVENT   QUARANTINED   INCIDENT
        pump-0   flows/0        0   60m          no            -
        pump-1   flows/1       10   60m          no            inc-flows.0.7.fast
        pump-2   flows/0       20   60m          yes           -
        "
      `)
      expect(requests.map((request) => request.url)).toEqual([
        "/v1/devices?limit=3",
        "/v1/devices?limit=1&cursor=2"
      ])
    })
  )

  it.live("prints what the API answers as JSON and YAML", () =>
    Effect.gen(function* () {
      const all = yield* ask("devices get -o json")
      expect(JSON.parse(all.out)).toEqual({ items: [0, 1, 2, 3, 4].map(listed), next: null })
      const one = yield* ask("devices get pump-1 -o json")
      expect(JSON.parse(one.out)).toEqual(device)
      const yaml = yield* ask("devices describe pump-1 -o yaml")
      expect(yaml.out).toContain("  baselines:\n    - signal: bytesIn\n      scale: log\n")
    })
  )

  it.live("describes a device as a page", () =>
    Effect.gen(function* () {
      const { out } = yield* ask("devices describe pump-1")
      expect(out).toMatchInlineSnapshot(`
        "Device:        pump-1
        Stream:        flows
        Cell:          flows/0, owned by runner-1 at epoch 2
        Events:        1,234
        Last event:    2026-05-01T12:00:00Z (60m ago)
        Threshold:     +0.35 nats earned by this device
        Quiet until:   -
        Version:       4
        Incident:      inc-flows.0.7.fast
                       high, open, 3 alerts since 2026-05-01T12:00:00Z
                       bytesIn was 9,000, expected 120
        Quarantine:    no
        Override:      none
        Label:         none

        Baselines:
          SIGNAL    SCALE   MEAN   DEVIATION
          bytesIn   log      4.8        0.31

        Windows:
          WINDOW    VALUE
          count1m      12

        Last scores:
          OFFSET   TIME                   PATH   ENERGY   P-VALUE   ALERT
               8   2026-05-01T12:00:01Z   fast      1.5       0.4   no
               7   2026-05-01T12:00:00Z   fast     12.5    2.0e-5   yes

        Why it alerted at offset 7:
          FEATURE        NATS   SHARE                  OBSERVED   EXPECTED
          bytesIn           8   ████████████████████      9,000        120
          proto rarity      2   █████                      icmp        tcp
          gap            -0.5   █                             -          1
        "
      `)
    })
  )

  it.live("sends a decision once, with who decides", () =>
    Effect.gen(function* () {
      const { code, out, requests } = yield* ask(
        "devices quarantine pump-1 --stream flows --by ada --reason test"
      )
      expect([code, out]).toEqual([0, "device/pump-1 quarantined (version 5)\n"])
      expect(requests).toHaveLength(1)
      expect(requests[0].url).toBe("/v1/devices/pump-1/quarantine?stream=flows")
      expect(JSON.parse(requests[0].body)).toEqual({ reason: "test", by: "ada" })
      expect(requests[0].headers["idempotency-key"]).toMatch(/^[0-9a-f-]{36}$/)
    })
  )

  it.live("counts an override's end from the event time that the cell has seen", () =>
    Effect.gen(function* () {
      const { out, requests } = yield* ask("devices override pump-1 --mute --for 2h --by ada")
      expect(out).toBe("device/pump-1 muted until 2026-05-01T14:01:00Z (version 5)\n")
      expect(JSON.parse(requests[2].body)).toMatchObject({
        mute: true,
        shift: 0,
        until: at + 60_000 + 2 * 3_600_000
      })
      const wrong = yield* ask("devices override pump-1 --for 2h")
      expect([wrong.code, wrong.err]).toEqual([
        2,
        "error: An override either mutes a device or shifts its threshold. Give --mute or --shift NATS.\n"
      ])
    })
  )

  it.live("labels, and refuses words that are no label", () =>
    Effect.gen(function* () {
      const { out } = yield* ask("devices label pump-1 --as false-alarm --by ada")
      expect(out).toBe("device/pump-1 labelled false-alarm (version 5)\n")
      const wrong = yield* ask("devices label pump-1 --as nothing")
      expect([wrong.code, wrong.err]).toEqual([
        2,
        "error: --as wants true-positive, false-alarm or unsure; 'nothing' was given. See `groundstate devices label --help`.\n"
      ])
    })
  )

  it.live("watches: all of them once, then only what has changed", () =>
    Effect.gen(function* () {
      let asked = 0
      const api = yield* serveApi(() => {
        asked++
        return { body: { items: [listed(0), { ...listed(1), events: asked < 3 ? 10 : 11 }], next: null } }
      })
      let written = ""
      const { code } = yield* runWords(
        ["devices", "watch", "--every", "1ms", "-o", "json", "--server", api.url],
        {
          onOut: (text) => {
            written += text
            return written.split("\n").length === 4 ? Effect.interrupt : Effect.void
          }
        }
      )
      expect(code).toBe(0)
      expect(asked).toBe(3)
      expect(
        written
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line))
          .map((item: { readonly device: string; readonly events: number }) => [item.device, item.events])
      ).toEqual([
        ["pump-0", 0],
        ["pump-1", 10],
        ["pump-1", 11]
      ])
    }).pipe(Effect.scoped)
  )
})

describe("cells", () => {
  it.live("lists cells, and tells those that did not answer on stderr", () =>
    Effect.gen(function* () {
      const { out, err } = yield* ask("cells get")
      expect(out).toMatchInlineSnapshot(`
        "CELL      OWNER      EPOCH   OFFSET   LAG   OLDEST     RATE   DEVICES   PATH   STATE
        flows/0   runner-1       2      900   100       2s   45.2/s        12   fast   reading
        "
      `)
      expect(err).toBe("Cell flows/1 did not answer: no answer in 2 s\n")
    })
  )

  it.live("describes one, and says what names a cell", () =>
    Effect.gen(function* () {
      expect((yield* ask("cells describe flows/0")).out).toMatchInlineSnapshot(`
        "Cell:               flows/0
        Owner:              runner-1 at epoch 2, since 2026-05-01T12:00:00Z (60m ago)
        Takeover:           41ms
        State:              reading
        Offset:             900 of 1000: 100 behind
        Oldest event:       2s
        Watermark:          2026-05-01T12:01:00Z
        Rate:               45.2/s
        Devices:            12, 8.0 KiB of state
        Model:              sha256:0123456789ab
        Path:               fast, breaker closed
        Drift:              watch: something has moved (energy: PSI 0.021, by chance below 0.050; KS 0.030, by chance below 0.060)
        Moved most:         FEATURE   STATE     PSI   BY CHANCE
                            bytesIn   watch   0.180       0.070
        Energy this week:   3.25 nats on average, +0.25 on the week before
        Checkpoint:         offset 880, 60m ago, 4.0 KiB in 3ms

        Since this owner started:
          Scored:         900
          Alerts:         3
          Suppressed:     1
          Dead letters:   2
          Duplicates:     0
          Late:           4
          Ahead:          0
        "
      `)
      const wrong = yield* ask("cells describe flows")
      expect(wrong.code).toBe(2)
      expect(wrong.err).toContain("A cell is named STREAM/PARTITION")
    })
  )
})

describe("models", () => {
  it.live("takes the beginning of a digest, or a name", () =>
    Effect.gen(function* () {
      const { code, out, requests } = yield* ask("models activate 0123 --stream flows --by ada")
      expect([code, out]).toEqual([0, `model/${digest} active on flows (partitions 0 from offset 900)\n`])
      expect(requests[1].url).toBe(`/v1/models/${digest}/activate`)
      expect((yield* ask("models retire flows")).out).toBe(`model/${digest} retired\n`)
      const unknown = yield* ask("models describe other")
      expect(unknown.code).toBe(1)
      expect(unknown.err).toContain("No model of http://127.0.0.1:")
    })
  )

  it.live("lists and describes versions", () =>
    Effect.gen(function* () {
      expect((yield* ask("models get")).out).toMatchInlineSnapshot(`
        "DIGEST                NAME    STATE    STREAM   FEATURES   PROTOTYPES    TRAINED ON   ACTIVATED
        sha256:0123456789ab   flows   active   flows           9           64   10,000 rows   2026-05-01T12:00:00Z
        "
      `)
      expect((yield* ask(`models describe ${digest}`)).out).toMatchInlineSnapshot(`
        "Digest:       sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
        Name:         flows
        State:        active
        Stream:       flows
        Made:         2026-05-01T12:00:00Z
        Activated:    2026-05-01T12:00:00Z
        Retired:      -
        Features:     9
        Prototypes:   64
        Trained on:   10,000 rows
        Not asked:    1 cells did not answer: the drift is without them
        Holds in:     flows/0 from offset 900 at epoch 2
        "
      `)
    })
  )
})

describe("incidents", () => {
  it.live("lists, describes, and says when there are none", () =>
    Effect.gen(function* () {
      expect((yield* ask("incidents get")).out).toMatchInlineSnapshot(`
        "INCIDENT             DEVICE   SEVERITY   STATUS   ALERTS   LAST ALERT   LABEL   WHY
        inc-flows.0.7.fast   pump-1   high       open          3   59m          -       bytesIn was 9,000, expected 120
        "
      `)
      const none = yield* ask("incidents get --status resolved")
      expect([none.code, none.out, none.err]).toEqual([0, "", "No incidents.\n"])
      expect((yield* ask(`incidents describe ${incident.id}`)).out).toContain("Peak energy:   12.5 nats")
    })
  )

  it.live("follows alerts, one line each, and goes on behind the last one seen", () =>
    Effect.gen(function* () {
      let lines: ReadonlyArray<string> = []
      const api = yield* serveApi(answers)
      yield* runWords(["incidents", "watch", "--server", api.url], {
        onOut: (text) => {
          lines = [...lines, text]
          return lines.length === 2 ? Effect.interrupt : Effect.void
        }
      })
      expect(lines[0]).toBe(
        "2026-05-01T12:00:00Z   high       pump-1             bytesIn was 9,000, expected 120\n"
      )
      expect(api.requests.map((request) => request.headers["last-event-id"])).toEqual([
        undefined,
        "flows.0.7.fast"
      ])
    }).pipe(Effect.scoped)
  )
})

describe("deadletters", () => {
  it.live("lists, shows the bytes, and replays with and without a dry run", () =>
    Effect.gen(function* () {
      expect((yield* ask("deadletters list")).out).toMatchInlineSnapshot(`
        "ID          STREAM   AGE   REASON     SIZE   DETAIL
        flows.0.5   flows    60m   bad-json    5 B   line 1: unexpected end
        "
      `)
      expect((yield* ask("deadletters show flows.0.5")).out).toContain('Event:\n  {"a":\n')
      const dry = yield* ask("deadletters replay --reason bad-json --dry-run")
      expect(dry.out).toContain("1 of 1 would decode; nothing was appended.")
      expect(JSON.parse(dry.requests[0].body)).toEqual({
        filter: { reason: "bad-json", limit: 1_000 },
        dryRun: true
      })
      const real = yield* ask("deadletters replay flows.0.5")
      expect(real.out).toContain("1 of 1 appended.")
      expect(JSON.parse(real.requests[0].body)).toEqual({ ids: ["flows.0.5"], dryRun: false })
      expect((yield* ask("deadletters replay")).code).toBe(2)
    })
  )
})

describe("errors of the API", () => {
  it.live("says who did not answer and what to do", () =>
    Effect.gen(function* () {
      const { code, err, out } = yield* runWords(["cells", "get", "--server", "127.0.0.1:9"])
      expect([code, out]).toEqual([69, ""])
      expect(err).toMatch(
        /^error: No runner answered at http:\/\/127\.0\.0\.1:9: .*Nothing was changed\. Is `groundstate run`/
      )
    })
  )

  it.live("makes sentences of a problem document", () =>
    Effect.gen(function* () {
      const { code, err } = yield* ask("devices describe ghost")
      expect([code, err]).toEqual([
        1,
        "error: There is no such thing. /v1/devices/ghost is not there. (GET /v1/devices/ghost answered 404.) The `get` form of the command lists what is there.\n"
      ])
    })
  )

  it.live("refuses an address that is none, and an answer that it does not understand", () =>
    Effect.gen(function* () {
      expect((yield* runWords(["cells", "get", "--server", "ftp://x"])).code).toBe(2)
      const api = yield* serveApi(() => ({ body: { surprise: true } }))
      const { code, err } = yield* runWords(["devices", "get", "--server", api.url])
      expect(code).toBe(1)
      expect(err).toContain("in a form that this version does not understand: not a list")
    }).pipe(Effect.scoped)
  )
})

describe("regions", () => {
  it.live("list what happened to the runner's own region", () =>
    Effect.gen(function* () {
      const { code, out, requests } = yield* ask("regions events --kind takeover --limit 2")
      expect(code).toBe(0)
      expect(out).toMatchInlineSnapshot(`
        "TIME                   KIND          RUNNER     CELL      WHAT
        2026-05-01T12:00:00Z   takeover      runner-1   flows/3   Runner runner-1 has cell flows/3.
        2026-05-01T12:00:00Z   runner-gone   runner-1   -         Runner runner-2 was given up: it has ended.
        "
      `)
      expect(requests.map(({ url }) => url)).toEqual([
        "/v1/regions",
        "/v1/regions/north/events?kind=takeover&limit=2"
      ])
    })
  )

  it.live("follow it, each event in a line", () =>
    Effect.gen(function* () {
      const { out } = yield* ask("regions watch north", { onOut: () => Effect.interrupt })
      expect(out.split("\n")[0]).toMatchInlineSnapshot(
        `"2026-05-01T12:00:00Z   takeover          runner-1     Runner runner-1 has cell flows/3."`
      )
    })
  )
})

describe("runners", () => {
  it.live("lists them with state, heartbeat and number of cells", () =>
    Effect.gen(function* () {
      const { code, out } = yield* ask("runners get")
      expect(code).toBe(0)
      expect(out).toMatchInlineSnapshot(`
        "RUNNER     STATE   ADDRESS         VERSION   CELLS   HEARTBEAT   AGE
        runner-1   alive   10.0.0.1:7070   0.1.0         2       400ms   60m
        runner-2   gone    10.0.0.1:7070   -             0         65s   60m
        "
      `)
    })
  )

  it.live("describes one with its cells", () =>
    Effect.gen(function* () {
      const { out } = yield* ask("runners describe runner-1")
      expect(out).toMatchInlineSnapshot(`
        "Runner:      runner-1
        State:       alive
        Heartbeat:   400ms ago
        Started:     2026-05-01T12:00:00Z, 60m ago
        Version:     0.1.0
        Address:     10.0.0.1:7070
        API:         http://10.0.0.1:8080
        Cells:       flows/0
                     flows/1
        "
      `)
    })
  )
})
