// Numbers, times and sizes as people read them.

/** `1,234,567`. */
export const formatCount = (value: number): string => Math.round(value).toLocaleString("en-US")

/** Three significant digits for people: `0.00123`, `12.3`, `4,560`, `1.2e+9`. `-` where there is none. */
export const formatNumber = (value: number | null | undefined): string => {
  if (value === null || value === undefined || Number.isNaN(value)) return "-"
  if (value === 0) return "0"
  const size = Math.abs(value)
  if (size >= 1e7 || size < 1e-4) return value.toExponential(1)
  if (size >= 1_000) return formatCount(value)
  return String(Number(value.toPrecision(3)))
}

/** Events per second, `12.3/s` or `45,600/s`. */
export const formatRate = (perSecond: number): string =>
  perSecond >= 100 ? `${formatCount(perSecond)}/s` : `${formatNumber(Number(perSecond.toFixed(1)))}/s`

/** `512 B`, `1.5 KiB`, `2.0 GiB`. */
export const formatBytes = (bytes: number): string => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"]
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

/** Share of one as per cent with one decimal: `97.5 %`. */
export const formatShare = (share: number): string => `${(share * 100).toFixed(1)} %`

/** A length of time the way kubectl says it: `850ms`, `12s`, `3m12s`, `5h`, `2d3h`. */
export const formatMillis = (millis: number): string => {
  if (!Number.isFinite(millis)) return "-"
  if (millis < 0) return `-${formatMillis(-millis)}`
  if (millis < 1_000) return `${Math.round(millis)}ms`
  const seconds = Math.floor(millis / 1_000)
  if (seconds < 120) return `${seconds}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`
  if (minutes < 180) return `${minutes}m`
  const hours = Math.floor(minutes / 60)
  if (hours < 8) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`
  if (hours < 48) return `${hours}h`
  const days = Math.floor(hours / 24)
  return days >= 8 || hours % 24 === 0 ? `${days}d` : `${days}d${hours % 24}h`
}

/** How long ago `at` (epoch ms) was; `-` where it never was. */
export const formatAge = (at: number | null, now: number): string =>
  at === null || at <= 0 ? "-" : formatMillis(Math.max(0, now - at))

/** RFC 3339 in UTC, to the second; `-` where there is none. */
export const formatTime = (at: number | null): string =>
  at === null || !Number.isFinite(at) || Math.abs(at) > 8.64e15 || at === 0
    ? "-"
    : new Date(at).toISOString().replace(/\.\d{3}Z$/, "Z")

/** The first 12 digits of a model's digest, as `sha256:0123456789ab`; `-` without one. */
export const formatDigest = (digest: string | null): string => (digest === null ? "-" : digest.slice(0, 19))
