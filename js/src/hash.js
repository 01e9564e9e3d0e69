// SHA-256 by the Web Crypto API, which browsers offer on https and on localhost only.

import { DeviceError } from "./errors.js";

/** The SHA-256 of bytes, in hexadecimal; an empty text where the environment cannot compute it. */
export async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return "";
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The same, or an error where it cannot be computed. */
export async function requiredSha256(bytes) {
  const found = await sha256(bytes);
  if (found) return found;
  throw new DeviceError(
    "saved estimates need SHA-256, which browsers compute on https and on localhost only: serve the page there",
  );
}
