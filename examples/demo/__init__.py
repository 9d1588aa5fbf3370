"""A small mesh of real processes: services, an Envoy beside each, and xdscp over a folder of YAML.

    processes <-- application, envoy, control_plane <-- fleet <-- scenes <-- __main__
    network   <----------------- places ------------------'        '--> screen
    load      <-- scenes                    shop (the folder, its edits)   checks (what must be true)

`python -m examples.demo` runs the scenes; the parts below `scenes` are also what tests of live traffic build on.
"""
