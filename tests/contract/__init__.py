"""
Hold a running service, whatever its framework, to the contract over real HTTP.

`server` starts a service as a process of its own; what is under test stands in `TARGETS` there, and another framework
joins by one entry and a twin of `probes/fastapi_server.py`. The Python that runs pytest also runs the service, so it
needs the service's dependencies beside pytest, schemathesis and http-sf.

CONTRACT_PROJECT      an emitted project to test instead of the template's own tree
TRACE_CONTEXT_HARNESS the folder `test` of the W3C's trace context repository, to run its harness too (needs aiohttp)
"""
