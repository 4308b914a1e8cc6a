-- SPDX-License-Identifier: AGPL-3.0-or-later
-- wrk: a POST of 16 KiB.
wrk.method = "POST"
wrk.body = string.rep("a", 16384)
wrk.headers["Content-Type"] = "application/octet-stream"
