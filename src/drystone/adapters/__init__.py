"""The doors to the outside world: processes, files, time, ids, secrets. Only here (and in stores/) is it touched."""
