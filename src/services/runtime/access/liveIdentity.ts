// Certificates and keys from files, read again when they change: connections made from then on use the new ones.
import { readFile, stat } from "node:fs/promises"
import { createSecureContext } from "node:tls"
import { Effect, type Scope } from "effect"
import type { ConfigInvalid } from "../../../schema/error/ConfigError.ts"
import { fileInvalid } from "./TokenFile.ts"

/** Files in PEM; an authority where the other side has to show a certificate of it. */
export interface IdentityFiles {
  readonly certificateFile: string
  readonly keyFile: string
  readonly authorityFile?: string | undefined
}

/** What `createSecureContext` takes. */
export interface Identity {
  readonly cert: Buffer
  readonly key: Buffer
  readonly ca?: Buffer
}

const RELOAD_MILLIS = 5_000
const FIX =
  "name a PEM file that this user may read; `groundstate certificates create` makes a set for a trial"

const readPem = (key: string, file: string): Effect.Effect<Buffer, ConfigInvalid> =>
  Effect.tryPromise({
    try: () => readFile(file),
    catch: (cause) =>
      fileInvalid(key, file, `it can't be read (${(cause as NodeJS.ErrnoException).code ?? cause})`, FIX)
  })

/** The files' contents, once it is seen that they fit together. `section` is the setting that holds their names. */
export const readIdentity = (section: string, files: IdentityFiles): Effect.Effect<Identity, ConfigInvalid> =>
  Effect.gen(function* () {
    const identity: Identity = {
      cert: yield* readPem(`${section}.certificateFile`, files.certificateFile),
      key: yield* readPem(`${section}.keyFile`, files.keyFile),
      ...(files.authorityFile === undefined
        ? {}
        : { ca: yield* readPem(`${section}.authorityFile`, files.authorityFile) })
    }
    yield* Effect.try({
      try: () => createSecureContext({ ...identity }),
      // The library's own words name the kind of failure and never what the files hold.
      catch: (cause) =>
        fileInvalid(
          `${section}.certificateFile`,
          files.certificateFile,
          `it can't be used with its key (${(cause as NodeJS.ErrnoException).code ?? "unreadable"})`,
          "name the certificate, and the key that belongs to it, both in PEM"
        )
    })
    return identity
  })

const stampOf = (files: IdentityFiles): Effect.Effect<string> =>
  Effect.promise(async () => {
    const stamps: Array<string> = []
    for (const file of [files.certificateFile, files.keyFile, files.authorityFile]) {
      if (file === undefined) continue
      const found = await stat(file).catch(() => undefined)
      stamps.push(found === undefined ? "missing" : `${found.mtimeMs} ${found.ino} ${found.size}`)
    }
    return stamps.join()
  })

export interface LiveIdentity {
  /** What holds now. */
  readonly current: () => Identity
  /** Reads the files again where they have changed; what does not fit together is told and left. */
  readonly refresh: Effect.Effect<void>
}

/** Follows the files until the scope closes; `changed` is told what holds from now on. */
export const followIdentity = (
  section: string,
  files: IdentityFiles,
  changed: (identity: Identity) => void = () => undefined
): Effect.Effect<LiveIdentity, ConfigInvalid, Scope.Scope> =>
  Effect.gen(function* () {
    let stamp = yield* stampOf(files)
    let identity = yield* readIdentity(section, files)
    const refresh = Effect.gen(function* () {
      const now = yield* stampOf(files)
      if (now === stamp) return
      stamp = now
      identity = yield* readIdentity(section, files)
      changed(identity)
    }).pipe(
      Effect.catchAll((error) =>
        Effect.logError("Changed certificates can't be used: those before still hold", {
          problem: error.message
        })
      )
    )
    yield* Effect.sleep(RELOAD_MILLIS).pipe(Effect.zipRight(refresh), Effect.forever, Effect.forkScoped)
    return { current: () => identity, refresh }
  })
