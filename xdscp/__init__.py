r"""xdscp: a service mesh control plane in Python for stock Envoy.

    sources ----> store ----> mesh ----> translators ----> snapshot ----> ads ----> Envoy
    (watch/YAML)  (tables)    (model)    (Envoy messages)  (bytes)        (streams)
                    ^   \_______________ derive ______________/  \----> status
                    |___ sds (certificates are rows too)          \---> admin (HTTP API)

`app` wires the parts in this order; import-linter checks that arrows go one way.
"""

__version__ = "0.1.0"
