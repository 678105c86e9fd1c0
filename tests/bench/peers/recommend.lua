-- wrk's requests: users in turn, ids of their own; at the end one line of JSON.
local number = 0
local headers = {["Host"] = "reco", ["Accept"] = "*/*", ["User-Agent"] = "bench"}

request = function()
  number = number + 1
  headers["X-Request-Id"] = "r" .. number
  return wrk.format("GET", "/recommend?user_id=" .. number * 7919 % 100000 .. "&k=10", headers)
end

done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"answered": %d, "seconds": %f, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
    summary.requests, summary.duration / 1e6, errors.connect, errors.read, errors.write, errors.status, errors.timeout
  ))
end
