r"""Manifests and the typed objects made of them.

    bytes -> reading -> manifest -> kinds.identity_of -> kinds.parse -> core objects, or Stored objects of mesh_api
                                                                   \-> Rejected, with findings

Nothing here does I/O or knows where a manifest comes from.
"""
