"""VerifyApproval: may this version reach production now, and with which release file?"""
