"""A simulator of the Oracle ZFS Storage Appliance: its REST interface over TLS, and its LUNs over iSCSI.

A program of its own (`python -m deuteron.appliance`) for clouds, tests and people that have no such machine. Nothing of
the cloud imports it, and it imports nothing of the cloud but how logs are written: what a driver and it agree on is the
appliance's protocol.

    __main__.py   options, processes' end
    rest.py       HTTP, log in, sessions, routes
    objects.py    what there is, and what is refused: pools, projects, LUNs, snapshots, clones
    san.py        targets, initiators and their groups
    document.py   the state, one file that is replaced as a whole
    storage.py    pools, and which layer stands on which; disks.py: a LUN as initiators have it
    layers.py     the data: files of which only what was written is there, standing on each other
    iscsi.py      sessions of initiators; login.py: log in and CHAP; pdus.py: what is on the wire
    scsi.py       commands of a disk
    trouble.py    for tests: late answers, refusals, a death in the middle
"""
