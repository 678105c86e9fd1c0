"""The operator: makes real what a `ShadowDeployment` says, and keeps it so. Pure functions inside, the cluster outside.

Start with `shadow.controller.resource`, the resource's type.
"""
