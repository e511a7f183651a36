-- A CloudEvent in binary mode with 1 KB of JSON.
wrk.method = "POST"
wrk.body = '{"name":"' .. string.rep("x", 1013) .. '"}'
wrk.headers["content-type"] = "application/json"
wrk.headers["ce-id"] = "4d9c0c8e-2f4f-4d3b-9a53-6f3c1c3b8a55"
wrk.headers["ce-source"] = "/orders/eu"
wrk.headers["ce-type"] = "dev.example.order.created"
wrk.headers["ce-specversion"] = "1.0"
wrk.headers["ce-time"] = "2026-11-21T04:00:00Z"
