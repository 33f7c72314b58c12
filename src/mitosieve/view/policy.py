"""What every answer of the server tells a browser to forbid."""

OPENSEADRAGON_STYLE = "'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='"
"""The one style element that OpenSeadragon 6.1.1 adds; a browser that finds another says so in its console."""

HEADERS: dict[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; img-src 'self' data: blob:; "
    f"style-src 'self' {OPENSEADRAGON_STYLE}; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
