"""The instances that share a fetch: who has finished its own share waits for the others' files to appear in the journal, and gives up when
one of them failed or fell silent (`steps.hosts`)."""

from steps.hosts import Beat, Hosts, Roll, read_hosts, read_job_name

__all__ = ["Beat", "Hosts", "Roll", "read_hosts", "read_job_name"]
