"""Types of the texts that rows, rules and hosts pass around: ids by what they name, and addresses.

At run time each is a `str`, as it stands in bodies and in the store. A row has them by its declaration (`model.rows`);
where one comes out of a request or is made, it is named for what it is: `PortId(call.params["id"])`.
"""

from __future__ import annotations

from typing import Final, NewType

ProjectId = NewType("ProjectId", str)
CLOUD: Final = ProjectId("")
"""The cloud itself, where a project would own: of gateways and of addresses of floating IPs."""

DomainId = NewType("DomainId", str)
"""Of a row of `projects` that acts as a domain."""
UserId = NewType("UserId", str)
GroupId = NewType("GroupId", str)
RoleId = NewType("RoleId", str)
RegionId = NewType("RegionId", str)
ServiceId = NewType("ServiceId", str)
EndpointId = NewType("EndpointId", str)
CredentialId = NewType("CredentialId", str)
ApplicationCredentialId = NewType("ApplicationCredentialId", str)
AccessRuleId = NewType("AccessRuleId", str)
TrustId = NewType("TrustId", str)
RegisteredLimitId = NewType("RegisteredLimitId", str)
LimitId = NewType("LimitId", str)
EndpointGroupId = NewType("EndpointGroupId", str)

ImageId = NewType("ImageId", str)
TaskId = NewType("TaskId", str)
MetadefNamespaceId = NewType("MetadefNamespaceId", str)
MetadefPartId = NewType("MetadefPartId", str)

VolumeId = NewType("VolumeId", str)
SnapshotId = NewType("SnapshotId", str)
TransferId = NewType("TransferId", str)
BackupId = NewType("BackupId", str)
GroupTypeId = NewType("GroupTypeId", str)
VolumeGroupId = NewType("VolumeGroupId", str)
GroupSnapshotId = NewType("GroupSnapshotId", str)
VolumeTypeId = NewType("VolumeTypeId", str)
QosSpecsId = NewType("QosSpecsId", str)
VolumeAttachmentId = NewType("VolumeAttachmentId", str)
MessageId = NewType("MessageId", str)
"""Of a message of the Block Storage service."""

NetworkId = NewType("NetworkId", str)
SubnetId = NewType("SubnetId", str)
SubnetPoolId = NewType("SubnetPoolId", str)
AddressScopeId = NewType("AddressScopeId", str)
PortId = NewType("PortId", str)
RouterId = NewType("RouterId", str)
FloatingIpId = NewType("FloatingIpId", str)
SecurityGroupId = NewType("SecurityGroupId", str)
SecurityGroupRuleId = NewType("SecurityGroupRuleId", str)
RbacPolicyId = NewType("RbacPolicyId", str)

Mac = NewType("Mac", str)
"""Lower case, with colons."""
Ip = NewType("Ip", str)
"""An address of either family as Python's `ipaddress` writes it."""
Cidr = NewType("Cidr", str)
"""A prefix without host bits."""
